package main

import (
	"golang.org/x/sys/unix"

	"github.com/gilliam/hypervisor/isolate/output"
	"github.com/gilliam/hypervisor/isolate/wire"
)

// A keeper is what a sandbox that outlives its hypervisor has: where the next
// hypervisor connects to, the file that says how the program ended, and the log.
type keeper struct {
	listener int
	outcome  fd
	pipes    [2]int
	log      *output.Writer
}

// newKeeper takes over the files that came with the Setup.
func newKeeper(k wire.Keep, files []int) (*keeper, error) {
	if len(files) != wire.KeepFiles {
		return nil, wire.ErrMalformed
	}
	null, err := unix.Open("/dev/null", unix.O_WRONLY|unix.O_CLOEXEC, 0) // the host's: it stays open, and shows nothing
	if err != nil {
		return nil, err
	}
	limits := output.Limits{Segment: int64(k.Segment), Rate: int64(k.Rate)}
	log, err := output.NewWriter([2]int{files[4], files[5]}, limits, null)
	if err != nil {
		return nil, err
	}
	return &keeper{listener: files[0], outcome: fd(files[1]), pipes: [2]int{files[2], files[3]}, log: log}, nil
}

// record writes what is to be known of the program when nobody hears it. It is on
// disk when it returns if nobody is there to hear.
func (k *keeper) record(kind wire.Kind, body []byte, heard bool) {
	if k == nil {
		return
	}
	frame := wire.Frame(kind, body)
	for {
		_, err := unix.Pwrite(int(k.outcome), frame, 0)
		if err != unix.EINTR {
			break
		}
	}
	if !heard {
		_ = unix.Fdatasync(int(k.outcome))
	}
}

// accept lets a new hypervisor take the place of the one before: it tells it
// about the program and hands it the pipes. It returns the new connection, or -1.
//
// Only who is outside of the sandbox's pid namespace has no pid in it.
func (k *keeper) accept(program int) int {
	conn, _, err := unix.Accept4(k.listener, unix.SOCK_CLOEXEC)
	if err != nil {
		return -1
	}
	peer, err := unix.GetsockoptUcred(conn, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil || peer.Pid != 0 {
		_ = unix.Close(conn)
		return -1
	}
	hello := wire.Adopted{Version: wire.Version, PID: uint32(program)}
	frame := wire.Frame(wire.KindAdopted, hello.Append(nil))
	rights := unix.UnixRights(k.pipes[:]...)
	if n, err := unix.SendmsgN(conn, frame, rights, nil, unix.MSG_NOSIGNAL); err != nil || n < len(frame) {
		_ = unix.Close(conn)
		return -1
	}
	return conn
}

// end kills what is left in the sandbox, so that nobody writes any more, and
// moves the rest of what was written to the log. reaped is where reap tells of
// children.
//
// Nothing forks past kill(-1): a process with a signal to die of cannot finish a
// fork, and one that was born before is among those killed.
func (k *keeper) end(reaped fd, commands running) {
	if k == nil {
		return
	}
	_ = unix.Kill(-1, unix.SIGKILL)
	for {
		child, ok := readChild(reaped)
		if !ok {
			break
		}
		commands.exited(child)
	}
	k.log.Drain(k.pipes)
}
