// Package wire is what the hypervisor and sandbox-init say to each other over
// their control socket, a Unix stream socket pair.
//
// Every message is a frame: a 4-byte little-endian length of what follows, one
// byte of [Kind], and the body. The hypervisor sends one [Setup] and then signals;
// sandbox-init answers the Setup with the program's pid or [Failed] and ends with
// [Exited]. Meanwhile the hypervisor may ask for further commands with [Exec], each of
// which is answered, signalled and ended by messages with its number. A hypervisor that
// takes over a sandbox connects to the socket that sandbox-init listens on, and hears an
// [Adopted] first.
//
//	wire.Write(conn, wire.KindSetup, setup.Append(nil))
//	kind, body, err := wire.Read(conn, wire.MaxReply)
//
// The hypervisor trusts nothing that it reads here: frames are bounded by
// [MaxReply] and every body is checked, because a kernel bug may have handed
// PID 1 to the tenant. The package stays small enough for PID 1 of every
// sandbox: no fmt, no reflection.
package wire
