package main

import (
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/gilliam/hypervisor/isolate/wire"
)

// control is the socket to the hypervisor: first the one it was started with,
// then, if the sandbox outlives that one, the one that connected last. It is -1
// when there is none.
var control = fd(3)

// Exit codes of sandbox-init itself. Nobody but the hypervisor's log reads them.
const (
	exitOK     = 0
	exitFailed = 1 // a step failed and was reported
	exitOrphan = 2 // the hypervisor is gone
	exitNotOne = 3 // started by hand
)

func main() {}

// init does everything. Namespaces, capabilities and no_new_privs belong to a
// thread, and until all packages are initialised the runtime keeps this goroutine
// on the first one, from which the program is forked. In main, LockOSThread would
// do the same, but start one more thread, to make threads from.
func init() {
	if unix.Getpid() != 1 {
		const text = "sandbox-init is PID 1 of a sandbox; it does nothing when run by hand\n"
		_, _ = fd(2).Write([]byte(text))
		unix.Exit(exitNotOne)
	}
	// It was executed as a number in /proc/self/fd.
	name := []byte("sandbox-init\x00")
	_ = unix.Prctl(unix.PR_SET_NAME, uintptr(unsafe.Pointer(&name[0])), 0, 0, 0)
	setup, files, err := receive()
	if err != nil {
		unix.Exit(exitOrphan)
	}
	if setup.OOMEvent {
		if len(files) == 0 {
			unix.Exit(exitOrphan)
		}
		files, oomEvent = files[:len(files)-1], files[len(files)-1]
	}
	var keep *keeper
	if setup.Keep.On {
		if keep, err = newKeeper(setup.Keep, files); err != nil {
			say(wire.KindFailed, failure("open log", err).Append(nil))
			unix.Exit(exitFailed)
		}
	}
	pid, failed := start(setup, keep)
	if failed != nil {
		body := failed.Append(nil)
		keep.record(wire.KindFailed, body, true)
		say(wire.KindFailed, body)
		unix.Exit(exitFailed)
	}
	if !say(wire.KindStarted, wire.AppendNumber(nil, uint32(pid))) && keep == nil {
		unix.Exit(exitOrphan)
	}
	exited := serve(setup, pid, keep)
	body := exited.Append(nil)
	keep.record(wire.KindExited, body, control >= 0)
	say(wire.KindExited, body)
	unix.Exit(exitOK)
}

// say tells the hypervisor something, if there is one that listens: one that
// does not take it is given up.
func say(kind wire.Kind, body []byte) bool {
	if control < 0 {
		return false
	}
	frame := wire.Frame(kind, body)
	for {
		n, err := unix.SendmsgN(int(control), frame, nil, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
		if err == unix.EINTR {
			continue
		}
		if err == nil && n == len(frame) {
			return true
		}
		hangUp()
		return false
	}
}

// hangUp ends the connection to the hypervisor.
func hangUp() {
	_ = unix.Close(int(control))
	control = -1
}

// receive reads the one Setup and the files that come with it.
func receive() (*wire.Setup, []int, error) {
	r, err := readRequest(wire.MaxSetup)
	if err != nil {
		return nil, nil, err
	}
	if r.kind != wire.KindSetup {
		return nil, nil, wire.ErrMalformed
	}
	setup := new(wire.Setup)
	return setup, r.files, setup.Decode(r.body)
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
