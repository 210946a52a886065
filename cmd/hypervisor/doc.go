// Command hypervisor is the whole program: the daemon, and the client that
// talks to it.
//
//	sudo hypervisor serve                             # the daemon, in the foreground
//	sudo hypervisor run --app blog -- /bin/echo hello # one proc, its output and exit status
//	sudo hypervisor ps
//
// Each verb is a file verb_*.go; run in app.go is the program without the
// operating system around it, which is how the tests start it. Everything that
// a verb may be told comes from flags and their environment twins (flags.go).
// Only wire.go knows the rooms behind the API.
//
// # Exit status
//
//	0    done
//	1    what was asked for failed
//	2    it was asked for in a wrong way: the message names the flag
//	125  run: the proc could not be made, or ended without an exit status
//	130  interrupted
//	else run: the exit status of the proc
//
// # Start
//
//  1. refuse to run as anyone but root;
//  2. take over the sockets that systemd passes, if any (package service);
//  3. make the state folder, mode 0700, and lock it: one daemon per folder;
//  4. read the token, or make it;
//  5. read the kernel's abilities, open engine, templates, images, layers, procs;
//  6. listen on the unix socket and on TCP, unless systemd does, and answer;
//  7. ask the own API; when it has answered, log "ready" and tell systemd;
//  8. go on asking it, for systemd's watchdog.
//
// # Shutdown
//
// SIGTERM or SIGINT begin it; a second one ends the process at once.
//
//  1. tell systemd; stop listening, which removes a socket of our own; cut off log streams and waits;
//  2. finish the other requests, for at most 10 s;
//  3. close the procs: let go of them, so that they go on for the next daemon, or with
//     --stop-on-exit stop every one (SIGTERM, grace, SIGKILL) and clean up;
//  4. close the engine;
//  5. give up the lock.
//
// Each deadline is of a fresh context: the one that was cancelled is over.
package main
