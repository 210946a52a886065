// Guest is PID 1 of a test machine: it loads kernel modules, puts together a
// root out of the template, mounts what a Debian host has mounted, runs the tasks
// of its [job.Job] one after the other, says on its console how they went, and
// turns the machine off. It is in the initramfs, beside its job:
//
//	/init  /job.json  /modules/000-crc16.ko …
//
// It runs in a machine that lives for nothing else, so whatever goes wrong ends
// that machine; on any other it would do harm, and refuses.
package main
