package attacks

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

// Namespaces is what must come of namespaces.
var Namespaces = func() Expectation {
	want := map[string]string{"clone3": "ENOSYS"}
	for name := range kinds {
		want["open /proc/1/ns/"+name] = "EACCES"
		want["readlink /proc/1/ns/"+name] = "EACCES"
	}
	return Expectation{"EPERM", want}
}()

// namespaces tries to make, to join and to look up namespaces.
func namespaces(r *Report, _ []string) {
	for name, flag := range kinds {
		r.Try("unshare "+name, InChild(0, unix.SYS_UNSHARE, flag))
		r.Try("clone "+name, InChild(flag, unix.SYS_GETPID))
		// The kernel takes clone's flags from the low 32 bits.
		r.Try("clone high bits "+name, InChild(flag|1<<40, unix.SYS_GETPID))
		r.join(name, flag)
		r.Try("open /proc/1/ns/"+name, Open("/proc/1/ns/"+name, unix.O_RDONLY))
		_, err := os.Readlink("/proc/1/ns/" + name)
		r.Try("readlink /proc/1/ns/"+name, err)
	}
	r.Try("unshare time", InChild(0, unix.SYS_UNSHARE, unix.CLONE_NEWTIME))
	args := [8]uint64{0: unix.CLONE_NEWUSER, 4: uint64(unix.SIGCHLD)} // struct clone_args, the first version
	r.Try("clone3", InChild(0, unix.SYS_CLONE3, Pointer(&args), 64))

	// The outer namespaces must not be reachable from the inner ones.
	r.relative("parent of user", "user", nsGetParent)
	r.relative("parent of pid", "pid", nsGetParent)
	for _, name := range []string{"net", "ipc", "uts"} {
		r.relative("owner of "+name, name, nsGetUserNS)
	}
}

// join enters a namespace of this process again, by its file and by pidfd.
func (r *Report) join(name string, flag uintptr) {
	fd, err := unix.Open("/proc/self/ns/"+name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		Fatal(err)
	}
	defer unix.Close(fd)
	r.Try("setns "+name, InChild(0, unix.SYS_SETNS, uintptr(fd), flag))
	for who, pid := range map[string]int{"self": os.Getpid(), "pid1": 1} {
		pidfd, err := unix.PidfdOpen(pid, 0)
		if err != nil {
			r.Fact("pidfd "+who, Outcome(err))
			continue
		}
		r.Try(fmt.Sprintf("setns %s of %s", name, who), InChild(0, unix.SYS_SETNS, uintptr(pidfd), flag))
		_ = unix.Close(pidfd)
	}
}

func (r *Report) relative(name, ns string, request uintptr) {
	fd, err := unix.Open("/proc/self/ns/"+ns, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		Fatal(err)
	}
	defer unix.Close(fd)
	r.Try(name, Call(unix.SYS_IOCTL, uintptr(fd), request))
}
