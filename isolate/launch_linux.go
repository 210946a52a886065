package isolate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/opencontainers/cgroups"
	"golang.org/x/sys/unix"

	"github.com/gilliam/hypervisor/isolate/failpoint"
	"github.com/gilliam/hypervisor/isolate/spawn"
	"github.com/gilliam/hypervisor/isolate/wire"
)

// IO is where a sandbox's program writes. The engine hands both files to the
// sandbox and the caller still owns, and closes, its own copies; pipes are
// chowned to the program's user so that it can reopen them as /dev/stdout.
type IO struct {
	Stdout *os.File
	Stderr *os.File

	// Keep is for a sandbox that outlives the engine; Stdout and Stderr are then
	// not looked at. Nil means that the sandbox ends with the hypervisor.
	Keep *Keep
}

// Keep is where a sandbox that outlives the engine keeps what the next one needs
// to take it over, with [Engine.Adopt], and what its program writes.
type Keep struct {
	// Dir is a folder of the host's for this sandbox alone. The log in it is that
	// of all sandboxes that it was given for, one after the other.
	Dir string

	// Segment is the most bytes of each of the log's two segments, and Rate how
	// many bytes of output a second are kept; 0 is no limit. What is beyond is
	// dropped and counted.
	Segment, Rate int64
}

// handshakeTimeout bounds the time in which sandbox-init sets itself up.
const handshakeTimeout = 20 * time.Second

// Launch does what the plan says and returns when the program was executed.
// When it fails nothing is left: an [ExecError] means that the program could not
// be executed, a [StepError] that the kernel refused a step.
func (e *Engine) Launch(ctx context.Context, p Plan, stdio IO) (_ *Sandbox, err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	var kept *keep
	if stdio.Keep != nil {
		if kept, stdio, err = newKeep(*stdio.Keep, p.Rlimits); err != nil {
			return nil, fmt.Errorf("sandbox %s: %w", p.ID, err)
		}
		defer func() {
			stdio.close()
			if err != nil {
				kept.close()
			}
		}()
	}
	ours, theirs, err := socketPair()
	if err != nil {
		return nil, fmt.Errorf("sandbox %s: control socket: %w", p.ID, err)
	}
	defer theirs.Close()
	defer closeOnError(ours, &err)

	// The cgroup is made here while the mounts are made on the launch thread.
	cgroup := make(chan cgroups.Manager, 1)
	fork := make(chan forked, 1)
	// Owned by Launch, which waits for fork.
	go func() { fork <- e.fork(p, cgroup, theirs, stdio) }()
	cg, cgErr := newCgroup(p.Cgroup)
	failpoint.Hit("isolate.cgroup.made")
	cgroup <- cg
	child := <-fork
	failpoint.Hit("isolate.init.forked")
	theirs.Close()

	s := &Sandbox{
		id: p.ID, process: child.process, control: ours, cgroup: cg, plan: p, host: e.host, engine: e, done: make(chan struct{}),
		execs: make(map[uint32]*Execution), keep: kept, child: true,
	}
	if err := errors.Join(cgErr, child.err); err != nil {
		return nil, errors.Join(fmt.Errorf("sandbox %s: %w", p.ID, err), s.abandon())
	}
	if err := e.admit(ctx, s, p); err != nil {
		return nil, errors.Join(fmt.Errorf("sandbox %s: %w", p.ID, err), s.abandon())
	}
	failpoint.Hit("isolate.program.started")
	// Owned by the Sandbox: ends when its processes have, and closes done.
	go s.supervise()
	return s, nil
}

// A forked is sandbox-init, not yet told what to do, or why there is none.
type forked struct {
	process *os.Process
	err     error
}

// fork builds the sandbox's files on a launch thread, takes the cgroup, which is
// nil when it could not be made, and starts sandbox-init in it.
func (e *Engine) fork(p Plan, cgroup <-chan cgroups.Manager, control *os.File, stdio IO) (f forked) {
	userns, err := e.users.get(p.IDs)
	if err != nil {
		return forked{err: err}
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		return forked{err: err}
	}
	defer null.Close()
	for _, out := range []*os.File{stdio.Stdout, stdio.Stderr} {
		if err := out.Chown(int(p.IDs.Base+p.User.UID), int(p.IDs.Base+p.User.GID)); err != nil {
			return forked{err: err}
		}
	}
	f.err = onThread(func() error {
		if err := enterNamespaces(p); err != nil {
			return err
		}
		b := builder{at: p.Root, userns: int(userns.Fd())}
		if err := b.apply(p.Steps); err != nil {
			return err
		}
		failpoint.Hit("isolate.mounts.made")
		cg := <-cgroup
		if cg == nil {
			return nil // Launch knows why
		}
		f.process, err = e.startInit(p, cg, []*os.File{null, stdio.Stdout, stdio.Stderr, control})
		return err
	})
	return f
}

// startInit starts sandbox-init from the launch thread, in the cgroup.
func (e *Engine) startInit(p Plan, cg cgroups.Manager, files []*os.File) (*os.Process, error) {
	unified, err := joinCgroup(cg)
	if err != nil {
		return nil, fmt.Errorf("enter cgroup %s: %w", p.Cgroup.Path, err)
	}
	if unified != nil {
		defer unified.Close()
	}
	process, err := spawn.Start(spawn.Program{
		Executable: e.init, Args: []string{"sandbox-init"}, Env: []string{"GOMAXPROCS=1"}, Files: files,
		Namespaces: unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWNS, IDs: spawn.IDs(p.IDs), Cgroup: unified,
		// Go's runtime would read the host's mount table and keep files of the cgroup
		// open, to know how many CPUs it has. It can do without, and package syscall
		// raises the limit before anything of ours runs.
		OpenFiles: uint64(len(files)),
	})
	if err != nil {
		return nil, fmt.Errorf("start sandbox-init: %w", err)
	}
	return process, nil
}

// enterNamespaces puts the launch thread into the sandbox's namespaces that the
// host's root owns: even root in the sandbox has no power over these.
func enterNamespaces(p Plan) error {
	flags := unix.CLONE_FS | unix.CLONE_NEWNS | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC
	if p.Network != NetworkHost {
		flags |= unix.CLONE_NEWNET
	}
	if err := unix.Unshare(flags); err != nil {
		return &StepError{"unshare mount uts ipc net", err}
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return &StepError{"make mounts private", err}
	}
	unix.Umask(0)
	if err := unix.Sethostname([]byte(p.Hostname)); err != nil {
		return &StepError{"sethostname " + p.Hostname, err}
	}
	if p.Network != NetworkHost {
		if err := loopbackUp(); err != nil {
			return &StepError{"bring loopback up", err}
		}
	}
	return nil
}

// loopbackUp turns on lo in the thread's network namespace (netdevice(7)).
func loopbackUp() error {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(s)
	ifreq, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	ifreq.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	return unix.IoctlIfreq(s, unix.SIOCSIFFLAGS, ifreq)
}

// admit tells sandbox-init what to do and hears that the program was executed.
func (e *Engine) admit(ctx context.Context, s *Sandbox, p Plan) error {
	adj := fmt.Sprintf("/proc/%d/oom_score_adj", s.process.Pid)
	if err := os.WriteFile(adj, fmt.Append(nil, p.OOMScoreAdj), 0); err != nil {
		return err
	}
	deadline := time.Now().Add(handshakeTimeout)
	if d, ok := ctx.Deadline(); ok && d.Before(deadline) {
		deadline = d
	}
	if err := s.control.SetDeadline(deadline); err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { _ = s.control.SetDeadline(time.Now()) })()
	filter, err := e.filters.get(p)
	if err != nil {
		return err
	}
	if err := s.tellSetup(e.setup(p, filter)); err != nil {
		return fmt.Errorf("tell sandbox-init: %w", err)
	}
	failpoint.Hit("isolate.setup.told")
	kind, body, err := wire.Read(s.control, wire.MaxReply)
	if err != nil {
		return errors.Join(fmt.Errorf("hear from sandbox-init: %w", err), ctx.Err())
	}
	if s.program, err = started(kind, body); err != nil {
		return err
	}
	return s.control.SetDeadline(time.Time{})
}

// tellSetup sends the setup, and with it the files of a sandbox that is kept.
func (s *Sandbox) tellSetup(setup *wire.Setup) error {
	if s.keep == nil {
		return wire.Write(s.control, wire.KindSetup, setup.Append(nil))
	}
	files, sent, err := s.keep.files()
	if err != nil {
		return err
	}
	defer sent()
	setup.Keep = wire.Keep{On: true, Segment: uint64(s.keep.limits.Segment), Rate: uint64(s.keep.limits.Rate)}
	return writeFiles(s.control, wire.Frame(wire.KindSetup, setup.Append(nil)), files)
}

// started reads sandbox-init's answer to its setup: the program's pid in the
// sandbox, or what failed.
func started(kind wire.Kind, body []byte) (int, error) {
	switch kind {
	case wire.KindStarted:
		pid, err := wire.DecodeNumber(body)
		return int(pid), err
	case wire.KindFailed:
		var f wire.Failed
		if err := f.Decode(body); err != nil {
			return 0, err
		}
		return 0, failure(&f)
	}
	return 0, fmt.Errorf("sandbox-init said something unexpected (kind %d)", kind)
}

// failure is what sandbox-init said as an error.
func failure(f *wire.Failed) error {
	errno := error(syscall.Errno(f.Errno))
	if f.Errno == 0 || f.Errno > 4095 {
		errno = errors.New("unknown error")
	}
	if f.Step == wire.StepExec {
		return &ExecError{Path: sanitize(f.Path), Err: errno}
	}
	step := "sandbox-init: " + sanitize(f.Step)
	if f.Path != "" {
		step += " " + sanitize(f.Path)
	}
	return &StepError{step, errno}
}

// setup is the part of the plan that sandbox-init does.
func (e *Engine) setup(p Plan, filter []byte) *wire.Setup {
	s := &wire.Setup{
		Cgroup:     p.Cgroup.View,
		Masked:     p.Masked,
		ReadOnly:   p.ReadOnly,
		UserLimits: p.UserLimits,
		Umask:      p.Umask,
		Caps:       mustMask(p.Capabilities),
		Scoped:     p.Scoped,
		Filter:     filter,
		UID:        p.User.UID,
		GID:        p.User.GID,
		Args:       p.Args,
		Env:        p.Env,
		Dir:        p.Dir,
	}
	if p.AppArmor != Unconfined {
		s.Profile = p.AppArmor
	}
	for _, r := range p.Rlimits {
		s.Rlimits = append(s.Rlimits, wire.Rlimit{Resource: uint32(r.Resource), Soft: r.Soft, Hard: r.Hard})
	}
	return s
}

// socketPair makes the control socket: our end, with deadlines, and the one for
// sandbox-init, which blocks.
func socketPair() (*net.UnixConn, *os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, err
	}
	theirs := os.NewFile(uintptr(fds[1]), "control")
	file := os.NewFile(uintptr(fds[0]), "control")
	ours, err := net.FileConn(file) // a copy, non-blocking
	file.Close()
	if err != nil {
		theirs.Close()
		return nil, nil, err
	}
	return ours.(*net.UnixConn), theirs, nil
}

func closeOnError(c io.Closer, err *error) {
	if *err != nil {
		c.Close()
	}
}

// abandon undoes a launch that failed half-way.
func (s *Sandbox) abandon() error {
	if s.process != nil {
		_ = s.process.Kill()
	}
	if s.cgroup != nil {
		killCgroup(s.cgroup, s.plan.Cgroup.IO.limited())
	}
	if s.process != nil {
		_, _ = s.process.Wait()
	}
	if s.cgroup == nil {
		return nil
	}
	if err := s.cgroup.Destroy(); err != nil {
		return fmt.Errorf("remove cgroup: %w", err)
	}
	return nil
}
