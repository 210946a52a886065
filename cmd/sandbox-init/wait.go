package main

import (
	"encoding/binary"

	"golang.org/x/sys/unix"

	"github.com/gilliam/hypervisor/isolate/output"
)

// What serve waits for, by its place in the list of poll(2).
const (
	onChild = iota
	onControl
	onOOM
	onListener
	onStdout
	onStderr
	sources
)

// oomEvent is readable when the sandbox's memory was used up and no more was to be
// had; -1 when nobody tells of it.
var oomEvent = -1

// ready says which of them there is something from.
type ready [sources]bool

func (r *ready) has(source int) bool { return r[source] }

// wait returns when there is something to do. Without a keeper nothing comes from
// the last three.
func wait(children int, keep *keeper) (r ready) {
	fds := [sources]unix.PollFd{onChild: {Fd: int32(children)}, onControl: {Fd: int32(control)}, onOOM: {Fd: int32(oomEvent)}, onListener: {Fd: -1}, onStdout: {Fd: -1}, onStderr: {Fd: -1}}
	var timeout *unix.Timespec
	if keep != nil {
		fds[onListener].Fd = int32(keep.listener)
		fds[onStdout].Fd, fds[onStderr].Fd = int32(keep.pipes[0]), int32(keep.pipes[1])
		if keep.log.Owes() {
			timeout = &unix.Timespec{Sec: 1}
		}
	}
	for i := range fds {
		fds[i].Events = unix.POLLIN
	}
	n, err := unix.Ppoll(fds[:], timeout, nil)
	if err != nil {
		return r // EINTR
	}
	if n == 0 {
		keep.log.Tell()
	}
	for i := range fds {
		r[i] = fds[i].Revents != 0
	}
	return r
}

// pump moves what is in the pipes to the log.
func (r *ready) pump(keep *keeper) {
	for i, pipe := range keep.pipes {
		if r[onStdout+i] {
			keep.log.Pump(output.Stdout+output.Kind(i), pipe)
		}
	}
}

// An ended is a child that has ended.
type ended struct {
	pid    int
	status unix.WaitStatus
	time   int64 // of the real-time clock, in nanoseconds
}

const endedSize = 16

// reap collects every child that ends, the sandbox's orphans included, and tells
// of each through a pipe. When there is none left it tells of pid 0 and returns.
func reap(to fd) {
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, 0, nil)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			pid, status = 0, 0
		}
		var b [endedSize]byte
		binary.NativeEndian.PutUint32(b[:], uint32(pid))
		binary.NativeEndian.PutUint32(b[4:], uint32(status))
		var t unix.Timespec
		_ = unix.ClockGettime(unix.CLOCK_REALTIME, &t)
		binary.NativeEndian.PutUint64(b[8:], uint64(t.Nano()))
		if _, err := to.Write(b[:]); err != nil || pid == 0 {
			return
		}
	}
}

// readChild reads what reap wrote. It is false when there is no child any more.
func readChild(from fd) (ended, bool) {
	var b [endedSize]byte // less than PIPE_BUF: written at once, and so read at once
	if n, err := from.Read(b[:]); err != nil || n != endedSize {
		return ended{}, false
	}
	child := ended{
		pid:    int(binary.NativeEndian.Uint32(b[:])),
		status: unix.WaitStatus(binary.NativeEndian.Uint32(b[4:])),
		time:   int64(binary.NativeEndian.Uint64(b[8:])),
	}
	return child, child.pid != 0
}
