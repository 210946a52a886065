// Package outbox tells receivers of the states of procs, so that no state is
// lost: each is on disk before it is told, is told in order, and is told again
// until the receiver takes it or a person must look.
//
//	o, err := outbox.Open(outbox.Config{Dir: dir, SetAside: aside, Client: client, Log: log})
//	err = o.Append(target, event) // durable when it returns nil
//	o.Start(known)                // begins to tell, once every proc of the disk was appended
//	o.Forget(id)                  // the proc is gone; what waits is told all the same
//	o.Close(ctx)                  // tells what is due, leaves the rest to the next start
//
// # What is promised
//
// Every event is delivered at least once, and those of one proc in the order of
// their sequence numbers: the next is sent when the one before it was taken, or
// was given up. A delivery names its sequence number and an id that are the
// same each time, by which a receiver drops what it has seen. An event that was
// not taken for long becomes a dead letter. It stays, is listed, and goes out
// again when somebody says so.
//
// # The order of writing
//
// The record of a proc holds the sequence number of its last event. It is
// written first, the event is appended next, and only then anybody hears of it.
// A crash between the two leaves a record that is ahead by one event, and that
// event can be made from the record alone. So who opens an outbox appends the
// last event of every record, and Append leaves out what it has had.
//
// # On disk
//
// One file per proc in Dir, of lines: a checksum and a JSON object (line.go).
// Events and what became of them are appended; the file is written anew when
// most of it is of the past. It is removed when its proc is gone and nothing is
// left to tell. A line that a crash cut off at the end is dropped; a file with
// damage elsewhere is set aside, and what can be read of it is used.
//
// # What it does not protect against
//
// An outcome is not synced: after a power cut an event may be told again. On a
// disk that cannot be written, events wait in memory and are lost with the
// process. Beyond a thousand events of a proc, or fifty thousand in all, the
// oldest dead letters make room, then the oldest that wait.
package outbox
