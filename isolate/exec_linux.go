package isolate

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gilliam/hypervisor/isolate/failpoint"
	"github.com/gilliam/hypervisor/isolate/wire"
)

// A Command is a further program to run in a sandbox. It runs as the sandbox's
// own program does: same user, filter, capabilities, limits and cgroup.
type Command struct {
	Args []string
	Env  []string // the whole environment; nil means the sandbox's program's
	Dir  string   // empty means the sandbox's program's

	// Stdin, Stdout and Stderr are handed to the command; the caller still owns,
	// and closes, its own copies. They are ignored when there is a Terminal.
	Stdin, Stdout, Stderr *os.File

	// Terminal asks for a terminal of this size in place of the files.
	Terminal *Size
}

// A Size is a terminal's, in characters.
type Size struct{ Rows, Cols uint16 }

// An Execution is a command that was executed in a sandbox. Its methods are
// safe for concurrent use.
type Execution struct {
	box      *Sandbox
	id       uint32
	terminal *os.File // the master, when it has one

	started chan error    // buffered: sandbox-init's answer
	exit    Exit          // written before done is closed
	done    chan struct{} // closed when the command has ended
}

// execTimeout bounds the time in which sandbox-init executes a command.
const execTimeout = 10 * time.Second

// Exec runs a further command in the sandbox and returns when it was executed.
// It returns [ErrEnded] when the sandbox has ended, and an [ExecError] when the
// command could not be executed.
func (s *Sandbox) Exec(ctx context.Context, c Command) (_ *Execution, err error) {
	if err := c.validate(); err != nil {
		return nil, err
	}
	x := &Execution{box: s, started: make(chan error, 1), done: make(chan struct{})}
	files := []*os.File{c.Stdin, c.Stdout, c.Stderr}
	if c.Terminal != nil {
		master, slave, err := s.newTerminal(*c.Terminal)
		if err != nil {
			return nil, fmt.Errorf("sandbox %s: %w", s.id, err)
		}
		defer slave.Close()
		x.terminal = master
		files = []*os.File{slave, slave, slave}
		defer func() {
			if err != nil {
				master.Close()
			}
		}()
	}
	if c.Env == nil {
		c.Env = s.plan.Env
	}
	if c.Dir == "" {
		c.Dir = s.plan.Dir
	}
	if err := s.register(x); err != nil {
		return nil, err
	}
	failpoint.Hit("isolate.exec.registered")
	request := wire.Exec{ID: x.id, Args: c.Args, Env: c.Env, Dir: c.Dir, TTY: c.Terminal != nil}
	if err := s.send(wire.KindExec, request.Append(nil), files); err != nil {
		s.forget(x)
		return nil, err
	}
	failpoint.Hit("isolate.exec.told")
	timeout := time.NewTimer(execTimeout)
	defer timeout.Stop()
	select {
	case err = <-x.started:
	case <-s.done:
		err = ErrEnded
	case <-ctx.Done():
		err = ctx.Err()
	case <-timeout.C:
		err = errors.New("sandbox-init does not answer")
	}
	if err != nil {
		s.forget(x)
		return nil, fmt.Errorf("exec in sandbox %s: %w", s.id, err)
	}
	failpoint.Hit("isolate.exec.started")
	return x, nil
}

func (c Command) validate() error {
	switch {
	case len(c.Args) == 0 || c.Args[0] == "":
		return &SpecError{"Args", "must name a program"}
	case under(c.Args[0], "/proc"):
		return &SpecError{"Args", "a program below /proc could be the hypervisor's own"}
	case hasNUL(c.Args) || hasNUL(c.Env):
		return &SpecError{"Args", "neither arguments nor environment may hold a NUL byte"}
	case c.Dir != "" && !cleanAbs(c.Dir) || under(c.Dir, "/proc"):
		return &SpecError{"Dir", "must be a clean absolute path and not below /proc"}
	case c.Terminal == nil && (c.Stdin == nil || c.Stdout == nil || c.Stderr == nil):
		return &SpecError{"Stdin", "stdin, stdout and stderr must be given, or a terminal"}
	}
	return nil
}

// Terminal is the master side of the command's terminal, nil when it has none.
// The caller closes it.
func (x *Execution) Terminal() *os.File { return x.terminal }

// Resize changes the size of the command's terminal; its foreground processes
// get SIGWINCH (ioctl_tty(2)).
func (x *Execution) Resize(size Size) error {
	if x.terminal == nil {
		return errors.New("resize: the command has no terminal")
	}
	return unix.IoctlSetWinsize(int(x.terminal.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: size.Rows, Col: size.Cols})
}

// Signal sends a signal to the command's process group. It returns [ErrEnded]
// when the command has ended.
func (x *Execution) Signal(sig syscall.Signal) error {
	select {
	case <-x.done:
		return ErrEnded
	default:
	}
	n := wire.ExecNumber{ID: x.id, Number: uint32(sig)}
	return x.box.send(wire.KindExecSignal, n.Append(nil), nil)
}

// Wait returns how the command ended, when it has. When the sandbox ended under
// it, Exit.Err is [ErrEnded].
func (x *Execution) Wait() Exit {
	<-x.done
	return x.exit
}

// Done is closed when the command has ended.
func (x *Execution) Done() <-chan struct{} { return x.done }

// finish ends the execution; only the first end counts. Callers hold box.mu.
func (x *Execution) finish(exit Exit) {
	select {
	case <-x.done:
	default:
		exit.At = time.Now()
		x.exit = exit
		close(x.done)
	}
}

// register gives the execution its number.
func (s *Sandbox) register(x *Execution) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.execs == nil { // it has ended
		return ErrEnded
	}
	s.lastExec++
	x.id = s.lastExec
	s.execs[x.id] = x
	return nil
}

// forget drops an execution that nobody waits for.
func (s *Sandbox) forget(x *Execution) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.execs, x.id)
}

// heard handles what sandbox-init says of a command. It tells whether that made
// sense; about a command that nobody knows any more, anything does.
func (s *Sandbox) heard(kind wire.Kind, body []byte) bool {
	var failed wire.ExecFailed
	var number wire.ExecNumber
	if kind == wire.KindExecFailed {
		if failed.Decode(body) != nil {
			return false
		}
		number.ID = failed.ID
	} else if number.Decode(body) != nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	x, ok := s.execs[number.ID]
	if !ok {
		return true
	}
	switch kind {
	case wire.KindExecStarted:
		x.answer(nil)
	case wire.KindExecFailed:
		x.answer(failure(&failed.Failed))
		delete(s.execs, x.id)
	case wire.KindExecExited:
		status := syscall.WaitStatus(number.Number)
		if !status.Exited() && !status.Signaled() {
			return false
		}
		var exit Exit
		exit.set(status)
		x.finish(exit)
		delete(s.execs, x.id)
	}
	return true
}

// answer passes on the first answer.
func (x *Execution) answer(err error) {
	select {
	case x.started <- err:
	default:
	}
}

// endExecs ends every execution with the sandbox.
func (s *Sandbox) endExecs() {
	s.endCommands(ErrEnded)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.execs = nil
}

// endCommands ends every execution that there is, for a reason.
func (s *Sandbox) endCommands(why error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, x := range s.execs {
		x.finish(Exit{Code: 128 + int(syscall.SIGKILL), Signal: int(syscall.SIGKILL), Err: why})
		delete(s.execs, id)
	}
}
