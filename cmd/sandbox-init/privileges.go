package main

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/gilliam/hypervisor/isolate/wire"
)

// kept are the capabilities, in the sandbox's own user namespace, that PID 1
// needs to start the program as another user and to signal it.
const kept uint64 = 1<<unix.CAP_SETUID | 1<<unix.CAP_SETGID | 1<<unix.CAP_KILL

// dropCapabilities cuts the bounding set to what the program may have, empties
// the ambient one, so that nothing that is executed from here on can have more,
// and cuts the other sets of every thread of this process to that and what is
// kept (capabilities(7)).
func dropCapabilities(s *wire.Setup) error {
	for c := uintptr(0); c < 64; c++ {
		if s.Caps&(1<<c) != 0 {
			continue
		}
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0); err == unix.EINVAL {
			break // beyond the last capability that this kernel knows
		} else if err != nil {
			return err
		}
	}
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil {
		return err
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	sets := kept | s.Caps
	data := [2]unix.CapUserData{
		{Effective: uint32(sets), Permitted: uint32(sets)},
		{Effective: uint32(sets >> 32), Permitted: uint32(sets >> 32)},
	}
	_, _, errno := syscall.AllThreadsSyscall(unix.SYS_CAPSET,
		uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&data[0])), 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// userLimits are what the sandbox's user namespace may have of what the kernel
// counts for it, in /proc/sys/user (namespaces(7)): no user namespace of an app's
// own, in which it would have every capability, whatever its seccomp profile
// says; and a share of the inotify instances that all sandboxes have together.
var userLimits = []struct{ name, value string }{
	{"/proc/sys/user/max_user_namespaces", "0"},
	{"/proc/sys/user/max_inotify_instances", "32"},
}

// limitUserNamespace sets them, before /proc/sys becomes read-only. Kernels
// without inotify have no such file.
func limitUserNamespace(*wire.Setup) error {
	for _, l := range userLimits {
		file, err := unix.Openat(unix.AT_FDCWD, l.name[1:], unix.O_WRONLY|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
		if err == unix.ENOENT {
			continue
		}
		if err != nil {
			return &pathError{l.name, err}
		}
		_, err = fd(file).Write([]byte(l.value))
		unix.Close(file)
		if err != nil {
			return &pathError{l.name, err}
		}
	}
	return nil
}

// noNewPrivs forbids this thread, and with the filter's TSYNC all of them, to
// gain privileges by execve (Documentation/userspace-api/no_new_privs.rst).
func noNewPrivs(*wire.Setup) error {
	return unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
}

// scope puts this thread, and so the programs that it forks, into a Landlock
// domain whose processes can reach neither abstract Unix sockets that were bound
// outside of it nor processes outside of it (userspace-api/landlock.rst).
func scope(s *wire.Setup) error {
	if !s.Scoped {
		return nil
	}
	attr := struct{ fs, net, scoped uint64 }{
		scoped: unix.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET | unix.LANDLOCK_SCOPE_SIGNAL,
	}
	ruleset, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr), 0)
	if errno != 0 {
		return errno
	}
	defer unix.Close(int(ruleset))
	if _, _, errno := unix.Syscall(unix.SYS_LANDLOCK_RESTRICT_SELF, ruleset, 0, 0); errno != 0 {
		return errno
	}
	return nil
}

// installFilter loads the seccomp program into every thread (seccomp(2)).
func installFilter(s *wire.Setup) error {
	const size = 8 // of struct sock_filter
	if len(s.Filter) == 0 || len(s.Filter)%size != 0 {
		return unix.EINVAL
	}
	prog := unix.SockFprog{
		Len:    uint16(len(s.Filter) / size),
		Filter: (*unix.SockFilter)(unsafe.Pointer(&s.Filter[0])),
	}
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER,
		unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&prog)))
	if errno != 0 {
		return errno
	}
	return nil
}

// ambient are the capabilities to raise for a program that does not run as root,
// which has none otherwise. Root has those of the bounding set.
func ambient(s *wire.Setup) []uintptr {
	if s.UID == 0 {
		return nil
	}
	var list []uintptr
	for c := uintptr(0); c < 64; c++ {
		if s.Caps&(1<<c) != 0 {
			list = append(list, c)
		}
	}
	return list
}
