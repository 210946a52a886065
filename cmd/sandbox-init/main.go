package main

import (
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/gilliam/hypervisor/isolate/wire"
)

// control is the socket to the hypervisor.
const control = fd(3)

// Exit codes of sandbox-init itself. Nobody but the hypervisor's log reads them.
const (
	exitOK     = 0
	exitFailed = 1 // a step failed and was reported
	exitOrphan = 2 // the hypervisor is gone
	exitNotOne = 3 // started by hand
)

func init() {
	// Namespaces, capabilities and no_new_privs belong to a thread: what follows
	// stays on this one, and the program is forked from it.
	runtime.LockOSThread()
}

func main() {
	if unix.Getpid() != 1 {
		const text = "sandbox-init is PID 1 of a sandbox; it does nothing when run by hand\n"
		_, _ = fd(2).Write([]byte(text))
		unix.Exit(exitNotOne)
	}
	// It was executed as a number in /proc/self/fd.
	name := []byte("sandbox-init\x00")
	_ = unix.Prctl(unix.PR_SET_NAME, uintptr(unsafe.Pointer(&name[0])), 0, 0, 0)
	setup, err := receive()
	if err != nil {
		unix.Exit(exitOrphan)
	}
	pid, failed := start(setup)
	if failed != nil {
		_ = wire.Write(control, wire.KindFailed, failed.Append(nil))
		unix.Exit(exitFailed)
	}
	if wire.Write(control, wire.KindStarted, wire.AppendNumber(nil, uint32(pid))) != nil {
		unix.Exit(exitOrphan)
	}
	status := serve(setup, pid)
	_ = wire.Write(control, wire.KindExited, wire.AppendNumber(nil, uint32(status)))
	unix.Exit(exitOK)
}

// receive reads the one Setup.
func receive() (*wire.Setup, error) {
	r, err := readRequest(wire.MaxSetup)
	if err != nil {
		return nil, err
	}
	if r.kind != wire.KindSetup {
		return nil, wire.ErrMalformed
	}
	setup := new(wire.Setup)
	return setup, setup.Decode(r.body)
}

// An fd is a file descriptor to read and write with plain system calls.
type fd int

func (f fd) Read(p []byte) (int, error) {
	for {
		n, err := unix.Read(int(f), p)
		switch {
		case err == unix.EINTR:
		case err != nil:
			return 0, err
		case n == 0 && len(p) > 0:
			return 0, eof
		default:
			return n, nil
		}
	}
}

func (f fd) Write(p []byte) (int, error) {
	done := 0
	for done < len(p) {
		n, err := unix.Write(int(f), p[done:])
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return done, err
		}
		done += n
	}
	return done, nil
}
