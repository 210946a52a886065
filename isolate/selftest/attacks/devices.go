package attacks

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// nodes are the devices of a host that a program would like to have.
var nodes = map[string][2]uint32{
	"mem": {1, 1}, "port": {1, 4}, "kmsg": {1, 11}, "console": {5, 1}, "tty0": {4, 0}, "tty1": {4, 1}, "ttyS0": {4, 64},
	"fuse": {10, 229}, "kvm": {10, 232}, "net/tun": {10, 200}, "loop-control": {10, 237}, "vhost-net": {10, 238},
	"userfaultfd": {10, 126}, "hpet": {10, 228}, "rtc0": {253, 0}, "cpu/0/msr": {202, 0},
	"null again": {1, 3}, "whatever": {195, 0},
}

var disks = map[string][2]uint32{"vda": {254, 0}, "vda1": {254, 1}, "sda": {8, 0}, "loop0": {7, 0}, "ram0": {1, 0}, "nvme0n1": {259, 0}}

// devices makes device nodes wherever it can write, and opens those of the
// host. The arguments are nodes to open that a plan has added; without one it
// only makes nodes in /tmp.
func devices(r *Report, args []string) {
	entries, err := os.ReadDir("/dev")
	if err != nil {
		Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	r.Fact("/dev", strings.Join(names, " "))
	dirs := []string{"/tmp", "/var/tmp", "/dev/shm", "/dev", "/"}
	if len(args) == 0 { // the control, which makes and opens nothing of the host's
		for name, n := range nodes {
			r.node("/tmp", name, unix.S_IFCHR, n)
		}
		for name, n := range disks {
			r.node("/tmp", name, unix.S_IFBLK, n)
		}
		return
	}
	for _, dir := range dirs {
		for name, n := range nodes {
			r.node(dir, name, unix.S_IFCHR, n)
		}
		for name, n := range disks {
			r.node(dir, name, unix.S_IFBLK, n)
		}
	}
	for name := range nodes {
		if name != "null again" && name != "whatever" {
			r.Try("open /dev/"+name, Open("/dev/"+name, unix.O_RDWR))
		}
	}
	for name := range disks {
		r.Try("open /dev/"+name, Open("/dev/"+name, unix.O_RDONLY))
	}
	for _, path := range args {
		r.Try("open added "+path, Open(path, unix.O_RDWR))
	}
}

func (r *Report) node(dir, name string, kind uint32, n [2]uint32) {
	path := fmt.Sprintf("%s/%x-%d-%d", dir, kind, n[0], n[1])
	err := unix.Mknod(path, kind|0o666, int(unix.Mkdev(n[0], n[1])))
	r.Try(fmt.Sprintf("mknod %s in %s", name, dir), err)
	if err == nil {
		_ = unix.Unlink(path)
	}
}
