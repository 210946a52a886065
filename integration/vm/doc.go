// Package vm runs the tests on real sandboxes on another kernel than this
// machine's: Debian 12's own 6.1, with nothing but cgroup v2, in a virtual
// machine. It has nothing but tests, which the build tag vm chooses and which
// need root:
//
//	sudo make test-vm
//	sudo go test -tags vm -v ./integration/vm
//
// The kernel comes out of Debian's package, unpacked into $VM_CACHE and never
// installed. qemu emulates the processor (TCG), so that no machine is too
// virtual for it; expect everything to take ten times as long as on the host.
// AppArmor is on in it, with docs/gilliam.apparmor, which all sandboxes of the
// tests run under, and testdata/gilliam-test.apparmor, compiled by Debian's parser.
// The guest's root is the default template, $TEMPLATE, below an overlay; the
// template itself is there once more, as /template, on an ext4 image of its own,
// and /tmp is ext4 too: tmpfs cannot be idmapped before Linux 6.3. There is no
// network, and nothing that the guest does reaches the host's files.
//
// What runs in it is the list packages. A package with integration tests
// must be in that list, or in the list notHere with the reason; one whose tests
// fail, are skipped, or do not run, fails. So does a kernel that warns.
//
// The parts: package machine makes and runs the virtual machine, the program
// guest is its PID 1, package job is what the two say to each other, and the
// program standin takes the place of go in the guest.
//
// What it does not do: it measures no speed, and it proves nothing about other
// processors than x86-64.
package vm
