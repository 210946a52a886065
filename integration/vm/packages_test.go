//go:build vm

package vm

import "time"

// A suite is a package whose tests run in the machine.
type suite struct {
	dir      string   // in the project
	tags     string   // beside integration
	cgo      bool     // linked with the C library, statically
	programs []string // folders of programs that the tests build
	timeout  time.Duration
}

// packages are run in this order. The machine's deadline bounds them together.
var packages = []suite{
	{dir: "isolate", timeout: 20 * time.Minute},
	{dir: "isolate/selftest", timeout: 15 * time.Minute},
	{dir: "isolate/spawn", timeout: 5 * time.Minute},
	{dir: "rootfs", timeout: 10 * time.Minute},
	{dir: "rootfs/debian", timeout: 10 * time.Minute},
	{dir: "rootfs/oci", timeout: 5 * time.Minute},
	{dir: "integration/attack", programs: []string{"probe"}, timeout: 15 * time.Minute},
	{dir: "integration/oracle", programs: []string{"probe"}, timeout: 15 * time.Minute, tags: "seccomp", cgo: true},
}

// notHere are the packages with integration tests that do not run in the
// machine, each with the reason.
var notHere = map[string]string{
	"integration": "builds the hypervisor and apps with go",
}

// modules are what the guest needs that Debian's kernel has not built in.
var modules = []string{
	"virtio_pci", "virtio_blk", "crc32c_generic", "ext4", "loop", "squashfs", "erofs", "overlay", "tcp_diag", "fuse", "dm_mod",
}
