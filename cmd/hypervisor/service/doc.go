// Package service is what the daemon and its service manager, systemd, say to
// each other: how the daemon is (sd_notify(3)), the sockets that it is given
// (sd_listen_fds(3)), and the units that tell systemd what to do.
//
//	sockets, err := service.Inherit()      // before any other file is opened
//	n := service.Notifier{Log: log}
//	n.Tell(service.Ready, service.Status("answers on %s", addr))
//	go n.Watch(ctx, check)                 // beats as long as check finds all well
//	n.Tell(service.Stopping)
//
//	os.Stdout.WriteString(service.Unit{Binary: path, Args: args}.Service())
//
// Without a service manager nothing is told, nothing is given, and Watch returns
// at once. What systemd says is in the process's environment, and only there.
//
// What this package does not protect against: a service manager that lies. It
// is the host's root.
package service
