// Package attack is what a hostile program in a sandbox would try, and the proof
// that it gets nowhere. It has nothing but tests, which the build tag
// integration chooses and which need root:
//
//	sudo go test -tags integration -v ./integration/attack
//
// The attacks are subcommands of one static program, [probe], that runs inside a
// sandbox of the real engine as the app would, and says what each of its tries
// came to. Here are the tables that say what it must come to, one row an attack,
// named by its number in the list of threats: T1 to T25 from inside an app, T53
// to T58 and T62 to T64 against what sandboxes share.
//
// A test that cannot fail proves nothing. So each row has a control where there
// can be one: the same attack where it is known to work, in a sandbox whose
// [isolate.Plan] was weakened or on the bare host, as a user or as the root of a
// user namespace without a seccomp filter. Every try must come to something else
// there, or the row says why it cannot.
//
// Nothing here leaves the machine, and nothing that could harm the host is done
// on it: where an attack would, were it to work, it stops at the open(2) that
// shows that it does. What the host's sysctls, the template's files, the
// engine's executables and the kernel's taint are is compared before and after.
//
// [probe]: https://pkg.go.dev/github.com/gilliam/hypervisor/integration/attack/probe
package attack
