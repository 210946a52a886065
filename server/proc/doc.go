// Package proc owns the life of a proc, one running instance of an app, from
// the request to the last trace of it: the state machine, the record on disk,
// the pools of ports and ids, the logs, the callbacks, stopping and removing.
//
//	m, err := proc.Open(proc.Config{StateDir: dir, Templates: t, Images: i, Layers: l, Volumes: v, BindDirs: b, Engine: e})
//	p, err := m.Create(ctx, proc.Request{App: "blog", Name: "web.1", Image: url, Command: proc.Shell("./run")})
//	p, err = m.Wait(ctx, p.ID, proc.Proc.HasEnded) // done or fail
//	err = m.Remove(ctx, p.ID, -1) // with the grace that is configured
//	err = m.Close(ctx)            // leaves procs that run to the next Manager; see Config.StopOnExit
//
// Everything else asks this package; it alone decides on states. It makes no
// system call of isolation itself: that is package isolate's, and the files are
// package rootfs's. It knows nothing of HTTP but the callbacks it sends.
package proc
