package attacks

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// fork makes a bare copy of this thread as a process. The copy has no Go runtime
// that works: it may do nothing but raw system calls.
//
//go:norace
//go:nosplit
//go:noinline
func fork(flags uintptr) (pid uintptr, errno unix.Errno) {
	pid, _, errno = unix.RawSyscall6(unix.SYS_CLONE, flags|uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
	return pid, errno
}

// inChild makes one system call in a process of its own, so that what it changes
// is nobody's. clone are flags of clone(2) for the child.
func InChild(clone, number uintptr, args ...uintptr) error {
	var a [6]uintptr
	copy(a[:], args)
	pid, errno := attempt(clone, number, &a)
	if errno != 0 {
		return errno
	}
	var status unix.WaitStatus
	if _, err := unix.Wait4(int(pid), &status, 0, nil); err != nil {
		return err
	}
	if n := status.ExitStatus(); n != 0 {
		return unix.Errno(n)
	}
	return nil
}

//go:norace
//go:nosplit
func attempt(clone, number uintptr, a *[6]uintptr) (uintptr, unix.Errno) {
	pid, errno := fork(clone)
	if errno != 0 || pid != 0 {
		return pid, errno
	}
	_, _, errno = unix.RawSyscall6(number, a[0], a[1], a[2], a[3], a[4], a[5])
	for {
		unix.RawSyscall(unix.SYS_EXIT_GROUP, uintptr(errno), 0, 0)
	}
}

// idler makes a process that does nothing until it is killed.
//
//go:norace
//go:nosplit
func Idler() (uintptr, unix.Errno) {
	pid, errno := fork(0)
	if errno != 0 || pid != 0 {
		return pid, errno
	}
	for {
		unix.RawSyscall6(unix.SYS_PPOLL, 0, 0, 0, 0, 0, 0)
	}
}

// runner makes a process that forks and ends, and so do its children, for ever:
// whoever looks for it finds that it has just gone.
//
//go:norace
//go:nosplit
func Runner() (uintptr, unix.Errno) {
	pid, errno := fork(0)
	if errno != 0 || pid != 0 {
		return pid, errno
	}
	unix.RawSyscall(unix.SYS_SETSID, 0, 0, 0)
	for {
		child, errno := fork(0)
		if errno == 0 && child != 0 {
			unix.RawSyscall(unix.SYS_EXIT_GROUP, 0, 0, 0)
		}
	}
}

// orphan makes a process whose parent ends at once, and which then ends itself.
//
//go:norace
//go:nosplit
func Orphan() (uintptr, unix.Errno) {
	pid, errno := fork(0)
	if errno != 0 || pid != 0 {
		return pid, errno
	}
	unix.RawSyscall(unix.SYS_SETSID, 0, 0, 0)
	fork(0)
	for {
		unix.RawSyscall(unix.SYS_EXIT_GROUP, 0, 0, 0)
	}
}

// Pointer is an address as system calls take it.
func Pointer[T any](p *T) uintptr { return uintptr(unsafe.Pointer(p)) }
