// Package output is how what a sandbox's program writes is kept on disk: a ring
// of two segment files that sandbox-init fills, whether or not a hypervisor
// runs, and that the hypervisor reads.
//
// Bytes go from the program's pipes to a segment by splice(2): what has left the
// pipe is in the file, whoever is killed at which instant. A [Header] opens each
// segment and says where its last whole record ends. A [Record] says when and on
// which stream the bytes behind it were written. When a segment is full the other
// one is emptied and goes on, so that a log is never larger than both.
//
//	w, err := output.NewWriter(segments, output.Limits{Segment: 8 << 20}, null)
//	w.Pump(output.Stdout, pipe) // when there is something in the pipe
//
// The format and the writer stay small enough
// for PID 1 of every sandbox: no os, no fmt. One goroutine writes; readers need
// no lock, they see what the header commits to and find out when a segment was
// emptied under them.
//
// What is in a segment is untrusted: a kernel bug may have handed PID 1 to the
// tenant. Every length is checked before it is used.
package output
