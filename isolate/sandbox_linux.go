package isolate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/opencontainers/cgroups"
	"golang.org/x/sys/unix"

	"github.com/gilliam/hypervisor/isolate/failpoint"
	"github.com/gilliam/hypervisor/isolate/wire"
)

// A Sandbox is one launched program with all that is around it. Its methods are
// safe for concurrent use.
type Sandbox struct {
	id      string
	process *os.Process // sandbox-init; nil when it had ended before it was adopted
	child   bool        // it is our child
	keep    *keep       // nil when the sandbox ends with the hypervisor
	cgroup  cgroups.Manager
	plan    Plan
	host    Host
	engine  *Engine    // for its filters
	tracing sync.Mutex // a thread has one tracer (ptrace(2))
	program int        // the program's pid as sandbox-init said it, in the sandbox

	write   sync.Mutex // one frame at a time on control
	control *net.UnixConn

	mu       sync.Mutex
	layer    *os.File              // holds the layer's file system; nil without one, or once we have let go
	execs    map[uint32]*Execution // nil when the sandbox has ended
	lastExec uint32

	left bool // by Leave; guarded by write

	exit Exit // written before done is closed
	done chan struct{}
}

// ID is the sandbox's, from its plan.
func (s *Sandbox) ID() string { return s.id }

// PID is sandbox-init's on the host; 0 when it had ended before it was adopted.
func (s *Sandbox) PID() int {
	if s.process == nil {
		return 0
	}
	return s.process.Pid
}

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
	if s.control == nil {
		return ErrEnded
	}
	// A sandbox-init that does not read must not block the caller.
	if err := s.control.SetWriteDeadline(time.Now().Add(time.Second)); err != nil {
		return ErrEnded
	}
	err := writeFiles(s.control, wire.Frame(kind, body), files)
	if err != nil {
		return fmt.Errorf("tell sandbox %s: %w", s.id, err)
	}
	return nil
}

// writeFiles writes a frame, and files with its first byte (unix(7), SCM_RIGHTS).
func writeFiles(conn *net.UnixConn, frame []byte, files []*os.File) error {
	var rights []byte
	if len(files) > 0 {
		fds := make([]int, len(files))
		for i, f := range files {
			fds[i] = int(f.Fd())
		}
		rights = unix.UnixRights(fds...)
	}
	n, _, err := conn.WriteMsgUnix(frame, rights, nil)
	if err == nil && n < len(frame) {
		_, err = conn.Write(frame[n:])
	}
	return err
}

// Kill ends every process of the sandbox with SIGKILL, whatever they do. It does
// not wait; [Sandbox.Wait] does.
func (s *Sandbox) Kill() {
	if s.process != nil {
		_ = s.process.Kill()
	}
	killCgroup(s.cgroup, s.plan.Cgroup.IO.limited())
}

// Usage reads what the sandbox has used so far from its cgroup, and what it uses of
// its layer while it runs.
func (s *Sandbox) Usage() (Usage, error) {
	u, err := usage(s.cgroup)
	if err == nil {
		err = s.usedDisk(&u)
	}
	if err == nil {
		err = s.usedVolumes(&u)
	}
	return u, err
}

// Destroy ends the sandbox if it still runs, waits, and removes its cgroup, the
// last trace of it on the host. It may be called again when it failed.
func (s *Sandbox) Destroy() error {
	select {
	case <-s.done:
	default:
		s.Kill()
		<-s.done
	}
	err := s.cgroup.Destroy()
	if err == nil && !s.child { // an older hypervisor may have made it in more hierarchies
		err = RemoveCgroup(s.id)
	}
	if err != nil {
		return fmt.Errorf("remove cgroup of sandbox %s: %w", s.id, err)
	}
	failpoint.Hit("isolate.cgroup.removed")
	s.engine.layers.release(s.takeLayer())
	return nil
}

// Leave lets go of a kept sandbox, which goes on without us. Its methods and
// what waits for it see it as it is and hear nothing more of it: it is for a
// hypervisor that ends.
func (s *Sandbox) Leave() {
	if layer := s.takeLayer(); layer != nil {
		layer.Close() // the sandbox has it too
	}
	s.write.Lock()
	defer s.write.Unlock()
	s.left = true
	if s.control != nil {
		s.control.Close()
	}
}

// supervise hears how the program ended, makes sure that nothing of the sandbox
// is left, and closes done. The control socket closes when sandbox-init ends;
// one that closes it early, or talks nonsense, is killed.
func (s *Sandbox) supervise() {
	exited, reported := s.hearAll()
	if s.leaving() {
		s.keep.close()
		if s.child {
			_, _ = s.process.Wait() // whoever has it now, it is our child to reap
		}
		return
	}
	defer close(s.done)
	defer s.endExecs()
	s.Kill()
	state, err := s.awaitProcess()
	if s.control != nil {
		s.control.Close()
	}
	s.exit = Exit{At: time.Now()}
	if s.keep != nil {
		s.exit.LogErr = s.keep.drain()
		s.keep.close()
		if !reported {
			if o, err := s.keep.outcome(); err == nil && o.Kind == wire.KindExited {
				exited, reported = o.Exited, validStatus(o.Exited.Status)
			}
		}
	}
	if oom, err := s.cgroup.OOMKillCount(); reported && exited.OOM || err == nil && oom > 0 {
		s.exit.OOMKilled = true
	}
	s.exit.conclude(exited, reported, state, err)
}

func (s *Sandbox) leaving() bool {
	s.write.Lock()
	defer s.write.Unlock()
	return s.left
}

// hearAll is hear for as long as sandbox-init lives: one that has hung up, since
// we were slow to read, is called again.
func (s *Sandbox) hearAll() (wire.Exited, bool) {
	for s.control != nil {
		exited, reported, err := s.hear()
		if reported || s.keep == nil || !errors.Is(err, io.EOF) || s.leaving() {
			return exited, reported
		}
		ctx, cancel := context.WithTimeout(context.Background(), handshakeTimeout)
		err = s.reconnect(ctx)
		cancel()
		if err != nil {
			break
		}
		s.endCommands(ErrEnded)
	}
	return wire.Exited{}, false
}

// hear handles what sandbox-init says until the program's exit status. It returns
// false when the socket closed without one, or when what came made no sense.
func (s *Sandbox) hear() (exited wire.Exited, reported bool, err error) {
	for {
		kind, body, err := wire.Read(s.control, wire.MaxReply)
		if err != nil {
			return exited, false, err
		}
		switch kind {
		case wire.KindExited:
			err := exited.Decode(body)
			return exited, err == nil && validStatus(exited.Status), err
		case wire.KindExecStarted, wire.KindExecFailed, wire.KindExecExited:
			if !s.heard(kind, body) {
				return exited, false, wire.ErrMalformed
			}
		default:
			return exited, false, wire.ErrMalformed
		}
	}
}
