//go:build integration

package oracle

import (
	"errors"
	"fmt"
	"os"
	"testing"

	_ "github.com/opencontainers/cgroups/devices" // the device rules of both cgroup versions
	"github.com/opencontainers/runc/libcontainer"
	"github.com/opencontainers/runc/libcontainer/configs"
	"golang.org/x/sys/unix"

	"github.com/gilliam/hypervisor/isolate"
)

// A theirs runs plans with libcontainer.
type theirs struct {
	state string   // libcontainer's folder
	root  string   // where its containers' roots are mounted, unseen by the host
	users *os.File // user namespace of the plans' ids
}

func newTheirs(tb testing.TB) *theirs {
	tb.Helper()
	// Root of the sandbox must be able to walk there, so it is no tb.TempDir.
	root, err := os.MkdirTemp("", "oracle-root-")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := os.Remove(root); err != nil {
			tb.Error(err)
		}
	})
	if err := os.Chmod(root, 0o711); err != nil {
		tb.Fatal(err)
	}
	return &theirs{tb.TempDir(), root, userNamespace(tb, ids)}
}

// A container is a program that libcontainer runs.
type container struct {
	*libcontainer.Container
	process *libcontainer.Process
}

// start runs the plan's configuration as far as its program's execve.
func (l *theirs) start(p isolate.Plan, out *os.File) (program, error) {
	config, err := p.Config()
	if err != nil {
		return nil, err
	}
	return l.startConfig(config, p, out)
}

// startUnfiltered leaves the seccomp filter out, which libseccomp takes long to
// compile, for each container anew.
func (l *theirs) startUnfiltered(p isolate.Plan, out *os.File) (program, error) {
	config, err := p.Config()
	if err != nil {
		return nil, err
	}
	config.Seccomp = nil
	return l.startConfig(config, p, out)
}

func (l *theirs) startConfig(config *configs.Config, p isolate.Plan, out *os.File) (program, error) {
	config.Rootfs = l.root
	root, ok := rootOf(p)
	if !ok {
		return nil, errors.New("the plan has no root")
	}
	// As our engine does with what it is given for output.
	if err := out.Chown(int(p.IDs.Base+p.User.UID), int(p.IDs.Base+p.User.GID)); err != nil {
		return nil, err
	}
	// Not on the private thread: the cgroup library keeps the handle that it
	// opens first, which would end with that thread's mounts.
	made, err := libcontainer.Create(l.state, p.ID, config)
	if err != nil {
		return nil, fmt.Errorf("create: %w", err)
	}
	c := &container{made, &libcontainer.Process{
		Args: p.Args, Env: p.Env, Cwd: p.Dir, UID: int(p.User.UID), GID: int(p.User.GID),
		Stdout: out, Stderr: out, Init: true,
	}}
	err = privately(func() error {
		if err := mountRoot(l.root, root, l.users); err != nil {
			return err
		}
		return c.Run(c.process)
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("run: %w", err), c.Destroy())
	}
	return c, nil
}

// pid is the program's on the host.
func (c *container) pid() (int, error) { return c.process.Pid() }

func (c *container) wait() error {
	state, err := c.process.Wait()
	if err == nil && !state.Success() {
		err = errors.New(state.String())
	}
	return err
}

// stop ends the container if it still runs and removes it.
func (c *container) stop() error {
	if c.Signal(unix.SIGKILL) == nil {
		_, _ = c.process.Wait() // it was killed
	}
	return c.Destroy()
}
