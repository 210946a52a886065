package main

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

var kinds = map[string]uintptr{
	"user": unix.CLONE_NEWUSER, "mnt": unix.CLONE_NEWNS, "pid": unix.CLONE_NEWPID, "net": unix.CLONE_NEWNET,
	"ipc": unix.CLONE_NEWIPC, "uts": unix.CLONE_NEWUTS, "cgroup": unix.CLONE_NEWCGROUP,
}

// Requests of ioctl(2) on namespaces (ioctl_nsfs(2)).
const (
	nsGetUserNS = 0xb701
	nsGetParent = 0xb702
)

// namespaces tries to make, to join and to look up namespaces.
func namespaces(r *report, _ []string) {
	for name, flag := range kinds {
		r.try("unshare "+name, inChild(0, unix.SYS_UNSHARE, flag))
		r.try("clone "+name, inChild(flag, unix.SYS_GETPID))
		// The kernel takes clone's flags from the low 32 bits.
		r.try("clone high bits "+name, inChild(flag|1<<40, unix.SYS_GETPID))
		r.join(name, flag)
		r.try("open /proc/1/ns/"+name, open("/proc/1/ns/"+name, unix.O_RDONLY))
		_, err := os.Readlink("/proc/1/ns/" + name)
		r.try("readlink /proc/1/ns/"+name, err)
	}
	r.try("unshare time", inChild(0, unix.SYS_UNSHARE, unix.CLONE_NEWTIME))
	args := [8]uint64{0: unix.CLONE_NEWUSER, 4: uint64(unix.SIGCHLD)} // struct clone_args, the first version
	r.try("clone3", inChild(0, unix.SYS_CLONE3, pointer(&args), 64))

	// The outer namespaces must not be reachable from the inner ones.
	r.relative("parent of user", "user", nsGetParent)
	r.relative("parent of pid", "pid", nsGetParent)
	for _, name := range []string{"net", "ipc", "uts"} {
		r.relative("owner of "+name, name, nsGetUserNS)
	}
}

// join enters a namespace of this process again, by its file and by pidfd.
func (r *report) join(name string, flag uintptr) {
	fd, err := unix.Open("/proc/self/ns/"+name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		fatal(err)
	}
	defer unix.Close(fd)
	r.try("setns "+name, inChild(0, unix.SYS_SETNS, uintptr(fd), flag))
	for who, pid := range map[string]int{"self": os.Getpid(), "pid1": 1} {
		pidfd, err := unix.PidfdOpen(pid, 0)
		if err != nil {
			r.fact("pidfd "+who, outcome(err))
			continue
		}
		r.try(fmt.Sprintf("setns %s of %s", name, who), inChild(0, unix.SYS_SETNS, uintptr(pidfd), flag))
		_ = unix.Close(pidfd)
	}
}

func (r *report) relative(name, ns string, request uintptr) {
	fd, err := unix.Open("/proc/self/ns/"+ns, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		fatal(err)
	}
	defer unix.Close(fd)
	r.try(name, call(unix.SYS_IOCTL, uintptr(fd), request))
}
