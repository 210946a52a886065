// Sandbox-init is PID 1 of every sandbox. The hypervisor starts it in new pid,
// user and mount namespaces; it reads one Setup from its control socket (file
// descriptor 3), finishes the sandbox from the inside, runs the program as the
// app's user and stays: it reaps, forwards signals and reports the exit status.
//
// In order: it enters a new cgroup namespace, mounts /proc and on cgroup v2 its
// own cgroup, allows no further user namespaces, hides what must not be seen,
// pivots into the root, sets limits, joins a session keyring, gives up every
// capability but the three it needs to start and to signal the program and those
// that the program is to have, sets no_new_privs, enters a Landlock domain, turns
// on the seccomp filter for all of its threads, and forks the program. Further
// commands are forked later, from the same thread.
//
// When the sandbox's memory is used up, and it is not the kernel that ends all of it
// then, sandbox-init does.
//
// When the control socket closes, the hypervisor is gone. A sandbox that is not
// kept ends with it: sandbox-init exits, and the kernel kills all that is left in
// the pid namespace. A kept one goes on: sandbox-init moves what the program
// writes to the log, as it always has, listens for the next hypervisor, and
// leaves word of how the program ended.
//
// It is small because every sandbox pays for it: no os, no fmt, no net.
package main
