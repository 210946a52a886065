// Package integration tests the hypervisor from the outside: its real binary,
// real sandboxes, its API and its command line. It has nothing but tests, which
// the build tag integration chooses and which need root:
//
//	sudo make test
//	sudo go test -tags integration -run TestApps ./integration
//
// The binary under test is built with the race detector, and a race in it ends
// the daemon and so fails the test; -hypervisor=PATH tests another one. Every
// test starts its own daemon on its own state folder and ports, and fails when
// anything is left of it at the end: a mount, a process, a cgroup, a layer, a
// port, a socket, or an error in the daemon's log.
//
// Package testbed is what these tests share with those of the engine. What a
// unit test could find is not here.
package integration
