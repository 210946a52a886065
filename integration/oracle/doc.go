// Package oracle tests the sandboxes of package isolate against libcontainer,
// the library in runc: one plan is run by our engine, and as the configuration
// that [isolate.Plan.Config] makes of it by libcontainer itself, in this process
// and with its own C code. In both runs the same program, [probe], tells what it
// sees, the host tells what it sees of the sandbox, and the kernel gives back the
// seccomp filter that it enforces.
//
// The reports are compared field by field. A difference is either a row of the
// table in accepted_test.go, with its reason, or a failure; and a row that no
// difference needs is a failure too. That the comparison sees what it should is
// tested by plans with one deliberate fault each.
//
// BenchmarkLaunch times the same launch by both, by the programs that others use,
// and by nothing but the system calls that it cannot do without.
//
// It needs root, gcc and libseccomp, and the build tags integration and seccomp:
//
//	apt-get install gcc libc6-dev pkg-config libseccomp-dev
//	go test -tags integration,seccomp ./integration/oracle
//
// Nothing here is part of the hypervisor, which has no C code in it.
//
// [probe]: https://pkg.go.dev/github.com/gilliam/hypervisor/integration/oracle/probe
package oracle
