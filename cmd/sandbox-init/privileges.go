package main

import (
	"strings"
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

// limitUserNamespace sets what the sandbox's user namespace may have of what the
// kernel counts for it (namespaces(7)), before /proc/sys becomes read-only. A limit
// that this kernel does not know is of something that it does not have.
func limitUserNamespace(s *wire.Setup) error {
	for _, limit := range s.UserLimits {
		name, value, _ := strings.Cut(limit, "=")
		if err := writeProc("sys/user/"+name, value); err != nil && err != unix.ENOENT {
			return &pathError{"/proc/sys/user/" + name, err}
		}
	}
	return nil
}

// enterProfile has what this thread executes run under an AppArmor profile
// (apparmor(7); aa_change_onexec in security/apparmor/domain.c). The programs are
// forked from this thread, the first one, and inherit it.
func enterProfile(s *wire.Setup) error {
	if s.Profile == "" {
		return nil
	}
	if err := writeProc("1/task/1/attr/apparmor/exec", "exec "+s.Profile); err != nil {
		return &pathError{s.Profile, err}
	}
	return nil
}

// writeProc writes to a file of the sandbox's procfs, and to nothing else: neither
// something in the template's place for it nor something that is mounted in it
// takes what is written (CVE-2019-16884, CVE-2025-52881).
func writeProc(name, value string) error {
	proc, err := openBeneath("/proc", unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer unix.Close(proc)
	var fs unix.Statfs_t
	if err := unix.Fstatfs(proc, &fs); err != nil {
		return err
	}
	if fs.Type != unix.PROC_SUPER_MAGIC {
		return unix.ENODEV
	}
	file, err := unix.Openat2(proc, name, &unix.OpenHow{
		Flags:   unix.O_WRONLY | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_XDEV | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS,
	})
	if err != nil {
		return err
	}
	_, err = fd(file).Write([]byte(value))
	unix.Close(file)
	return err
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
