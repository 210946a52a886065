// Package builders sets the templates that the hypervisor builds of Debian packages
// beside what debootstrap and mmdebstrap make of the same packages of the same
// mirror. It has nothing but a benchmark, which the build tag builders chooses, and
// which needs root, the network and both programs:
//
//	sudo make bench-template
//	sudo go test -tags builders -run '^$' -bench . -benchtime 2x ./integration/builders
//
// It prints one table: how long each took, in turns, and how long ours took of that.
// No time fails it. A list of packages, as dpkg-query tells it, that is not the same
// for all three does, and so does anything that is left on the machine.
//
// All build from one suite of one mirror, without its security fixes: debootstrap
// knows no other mirror beside the suite's own.
package builders
