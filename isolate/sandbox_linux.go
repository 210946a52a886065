package isolate

import (
	"fmt"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/opencontainers/cgroups"
	"golang.org/x/sys/unix"

	"github.com/gilliam/hypervisor/isolate/wire"
)

// A Sandbox is one launched program with all that is around it. Its methods are
// safe for concurrent use.
type Sandbox struct {
	id      string
	process *os.Process // sandbox-init
	control *net.UnixConn
	cgroup  cgroups.Manager
	plan    Plan
	host    Host
	program int // the program's pid as sandbox-init said it, in the sandbox

	write sync.Mutex // one frame at a time on control

	mu       sync.Mutex
	execs    map[uint32]*Execution // nil when the sandbox has ended
	lastExec uint32

	exit Exit // written before done is closed
	done chan struct{}
}

// ID is the sandbox's, from its plan.
func (s *Sandbox) ID() string { return s.id }

// PID is sandbox-init's on the host.
func (s *Sandbox) PID() int { return s.process.Pid }

// Plan is what the sandbox was launched by.
func (s *Sandbox) Plan() Plan { return s.plan }

// Done is closed when every process of the sandbox has ended.
func (s *Sandbox) Done() <-chan struct{} { return s.done }

// Wait returns how the program ended, when every process of the sandbox has.
func (s *Sandbox) Wait() Exit {
	<-s.done
	return s.exit
}

// Signal sends a signal to the process group of the program. It returns
// [ErrEnded] when there is none any more.
func (s *Sandbox) Signal(sig syscall.Signal) error {
	return s.send(wire.KindSignal, wire.AppendNumber(nil, uint32(sig)), nil)
}

// send writes one frame to sandbox-init, with files.
func (s *Sandbox) send(kind wire.Kind, body []byte, files []*os.File) error {
	select {
	case <-s.done:
		return ErrEnded
	default:
	}
	s.write.Lock()
	defer s.write.Unlock()
	// A sandbox-init that does not read must not block the caller.
	if err := s.control.SetWriteDeadline(time.Now().Add(time.Second)); err != nil {
		return ErrEnded
	}
	var rights []byte
	if len(files) > 0 {
		fds := make([]int, len(files))
		for i, f := range files {
			fds[i] = int(f.Fd())
		}
		rights = unix.UnixRights(fds...)
	}
	frame := wire.Frame(kind, body)
	n, _, err := s.control.WriteMsgUnix(frame, rights, nil)
	if err == nil && n < len(frame) {
		_, err = s.control.Write(frame[n:])
	}
	if err != nil {
		return fmt.Errorf("tell sandbox %s: %w", s.id, err)
	}
	return nil
}

// Kill ends every process of the sandbox with SIGKILL, whatever they do. It does
// not wait; [Sandbox.Wait] does.
func (s *Sandbox) Kill() {
	_ = s.process.Kill()
	killCgroup(s.cgroup)
}

// Usage reads what the sandbox has used so far from its cgroup.
func (s *Sandbox) Usage() (Usage, error) { return usage(s.cgroup) }

// Destroy ends the sandbox if it still runs, waits, and removes its cgroup, the
// last trace of it on the host. It may be called again when it failed.
func (s *Sandbox) Destroy() error {
	select {
	case <-s.done:
	default:
		s.Kill()
		<-s.done
	}
	if err := s.cgroup.Destroy(); err != nil {
		return fmt.Errorf("remove cgroup of sandbox %s: %w", s.id, err)
	}
	return nil
}

// supervise hears how the program ended, makes sure that nothing of the sandbox
// is left, and closes done. The control socket closes when sandbox-init ends;
// one that closes it early, or talks nonsense, is killed.
func (s *Sandbox) supervise() {
	defer close(s.done)
	defer s.endExecs()
	status, reported := s.hear()
	_ = s.process.Kill()
	killCgroup(s.cgroup)
	state, err := s.process.Wait()
	s.control.Close()
	s.exit = Exit{At: time.Now()}
	if oom, err := s.cgroup.OOMKillCount(); err == nil && oom > 0 {
		s.exit.OOMKilled = true
	}
	switch {
	case reported:
		s.exit.set(status)
	case err != nil:
		s.exit.Code, s.exit.Err = 255, fmt.Errorf("wait for sandbox-init: %w", err)
	default:
		if ws, ok := state.Sys().(syscall.WaitStatus); ok {
			s.exit.set(ws)
		}
		if !s.exit.OOMKilled { // which ends PID 1 too, where the kernel kills the whole cgroup
			s.exit.Err = fmt.Errorf("sandbox-init ended without a report (%v)", state)
		}
	}
}

// hear handles what sandbox-init says until the program's exit status. It is
// false when the socket closed without one, or when what came made no sense.
func (s *Sandbox) hear() (syscall.WaitStatus, bool) {
	for {
		kind, body, err := wire.Read(s.control, wire.MaxReply)
		if err != nil {
			return 0, false
		}
		switch kind {
		case wire.KindExited:
			n, err := wire.DecodeNumber(body)
			status := syscall.WaitStatus(n)
			return status, err == nil && (status.Exited() || status.Signaled())
		case wire.KindExecStarted, wire.KindExecFailed, wire.KindExecExited:
			if !s.heard(kind, body) {
				return 0, false
			}
		default:
			return 0, false
		}
	}
}

// set takes over a wait status (wait(2)).
func (e *Exit) set(status syscall.WaitStatus) {
	switch {
	case status.Signaled():
		e.Signal = int(status.Signal())
		e.Code = 128 + e.Signal
	case status.Exited():
		e.Code = status.ExitStatus()
	}
}

// SignalName is the name of a signal, as SIGTERM.
func SignalName(n int) string {
	if name := unix.SignalName(syscall.Signal(n)); name != "" {
		return name
	}
	return fmt.Sprintf("SIG%d", n)
}
