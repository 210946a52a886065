package isolate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"github.com/opencontainers/cgroups"
	"golang.org/x/sys/unix"

	"github.com/gilliam/hypervisor/isolate/failpoint"
	"github.com/gilliam/hypervisor/isolate/spawn"
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
	if err := e.pids.check(); err != nil {
		return nil, fmt.Errorf("sandbox %s: %w", p.ID, err)
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

	// The mounts are made on the launch thread, which has most to do and so starts
	// early, and meanwhile the layer, the network and the cgroup, for which it waits.
	network, cgroup := newLater[*os.File](), newLater[cgroups.Manager]()
	layer := meanwhile(func() (*os.File, error) { return e.layer(p) })
	fork := meanwhile(func() (*os.Process, error) { return e.fork(p, network, layer, cgroup, theirs, stdio) })
	// Owned by Launch, which waits for it at once: so it runs on this processor.
	go network.make(func() (*os.File, error) { return newNetwork(p.Network) })
	_, _ = network.wait() // its error is fork's
	cgroup.make(func() (cgroups.Manager, error) { return newCgroup(p.Cgroup) })
	failpoint.Hit("isolate.cgroup.made")
	process, forkErr := fork.wait()
	failpoint.Hit("isolate.init.forked")
	if ns, _ := network.wait(); ns != nil {
		ns.Close()
	}
	cg, _ := cgroup.wait()
	held, _ := layer.wait()
	theirs.Close()

	s := &Sandbox{
		id: p.ID, process: process, control: ours, cgroup: cg, plan: p, host: e.host, engine: e, done: make(chan struct{}),
		execs: make(map[uint32]*Execution), keep: kept, child: true, layer: held,
	}
	if forkErr != nil {
		return nil, errors.Join(fmt.Errorf("sandbox %s: %w", p.ID, forkErr), s.abandon())
	}
	if err := e.admit(ctx, s, p); err != nil {
		return nil, errors.Join(fmt.Errorf("sandbox %s: %w", p.ID, err), s.abandon())
	}
	failpoint.Hit("isolate.program.started")
	// Owned by the Sandbox: ends when its processes have, and closes done.
	go s.supervise()
	return s, nil
}

// fork builds the sandbox's files on a launch thread and starts sandbox-init, not
// yet told what to do, in the network namespace and the cgroup.
func (e *Engine) fork(p Plan, network, layer *later[*os.File], cgroup *later[cgroups.Manager], control *os.File, stdio IO) (*os.Process, error) {
	userns, err := e.users.get(p.IDs)
	if err != nil {
		return nil, err
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		return nil, err
	}
	defer null.Close()
	for _, out := range []*os.File{stdio.Stdout, stdio.Stderr} {
		if err := out.Chown(int(p.IDs.Base+p.User.UID), int(p.IDs.Base+p.User.GID)); err != nil {
			return nil, err
		}
	}
	var process *os.Process
	err = onThread(func() error {
		if err := enterNamespaces(p); err != nil {
			return err
		}
		if err := build(p, int(userns.Fd()), e.layers, network, layer); err != nil {
			return err
		}
		failpoint.Hit("isolate.mounts.made")
		cg, err := cgroup.wait()
		if err != nil {
			return err
		}
		process, err = e.startInit(p, cg, []*os.File{null, stdio.Stdout, stdio.Stderr, control})
		return err
	})
	return process, err
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
	if err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC); err != nil {
		return &StepError{"unshare mount uts ipc", err}
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return &StepError{"make mounts private", err}
	}
	unix.Umask(0)
	if err := unix.Sethostname([]byte(p.Hostname)); err != nil {
		return &StepError{"sethostname " + p.Hostname, err}
	}
	return nil
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
	defer func() { s.engine.layers.release(s.takeLayer()) }()
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
