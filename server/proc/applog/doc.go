// Package applog reads what apps wrote. Sandbox-init keeps it, in chunks as they
// left the pipes, in a ring of two files in the proc's folder (package output);
// this package puts the lines together again.
//
//	err := applog.Read(ctx, dir, applog.Options{Follow: true, Tail: 10}, ended, func(l applog.Line) error {
//		_, err := fmt.Printf("%s %s\n", l.Stream, l.Text)
//		return err
//	})
//
// Nothing polls: who waits for more is woken by inotify(7), of which the whole
// process has one instance, since all apps and the hypervisor share them.
//
// What was not kept is told where it is missing, as a [Line] with the number of
// bytes. A reader that is slower than the app loses what the ring overwrites, and
// hears how much.
//
// What is in the files is as untrusted as the app: a reader stays in bounds and
// ends with its context whatever they hold.
package applog
