//go:build integration

package attack

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/gilliam/hypervisor/isolate"
)

// A control is a place in which an attack is known to work.
type control func(t *testing.T, args []string) report

// weakened is a sandbox whose plan was spoilt.
func weakened(spoil func(*isolate.Plan)) control {
	return func(t *testing.T, args []string) report { return once(t, spec(t, args...), spoil) }
}

// other is a user without privileges.
const other = 65533

// asUser is the host as a user of it sees it.
func asUser(t *testing.T, args []string) report {
	return bare(t, &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: other, Gid: other}}, args...)
}

// private are namespaces in which a root can do no harm.
const private = syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWNET | syscall.CLONE_NEWIPC | syscall.CLONE_NEWUTS | syscall.CLONE_NEWCGROUP

// asRootOfNamespaces has every capability in namespaces of its own, and no
// filter: what a sandbox would be if nothing but the namespaces were left.
func asRootOfNamespaces(t *testing.T, args []string) report {
	return bare(t, rootOfNamespaces(), append([]string{"-fresh"}, args...)...)
}

func rootOfNamespaces() *syscall.SysProcAttr {
	maps := []syscall.SysProcIDMap{{ContainerID: 0, HostID: other, Size: 1}}
	return &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | private,
		UidMappings: maps, GidMappings: maps, GidMappingsEnableSetgroups: true,
		Credential: &syscall.Credential{Uid: 0, Gid: 0},
	}
}

// asRoot is the host's own root, away from its processes, network and mounts. It
// is only for attacks that open what they must not and leave it at that.
func asRoot(t *testing.T, args []string) report {
	return bare(t, &syscall.SysProcAttr{Cloneflags: private}, append([]string{"-fresh"}, args...)...)
}

// bare runs the probe without a sandbox.
func bare(t *testing.T, attr *syscall.SysProcAttr, args ...string) report {
	t.Helper()
	return bareAt(t, filepath.Join(tools, "probe"), attr, args...)
}

func bareAt(t *testing.T, probe string, attr *syscall.SysProcAttr, args ...string) report {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), probe, args...)
	cmd.SysProcAttr = attr
	cmd.Dir, cmd.Env = "/", []string{"TMPDIR=" + commons(t)}
	cmd.Stderr = os.Stderr
	cmd.WaitDelay = time.Second
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("control %q: %v", args, err)
	}
	return decode(t, out)
}

// commons is a folder that everybody may write to.
func commons(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp(tools, "commons")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if err := os.Chmod(dir, 0o1777); err != nil {
		t.Fatal(err)
	}
	return dir
}

// bareWith runs the probe as a user of the host with these descriptors.
func bareWith(t *testing.T, stdin *os.File, extra []*os.File, args ...string) report {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), filepath.Join(tools, "probe"), args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: other, Gid: other}}
	cmd.Stdin, cmd.ExtraFiles, cmd.Stderr, cmd.Dir = stdin, extra, os.Stderr, "/"
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("control %q: %v", args, err)
	}
	return decode(t, out)
}

// jail is a folder with nothing in it but the probe and what that needs.
func jail(t *testing.T) string {
	t.Helper()
	dir := commons(t)
	for _, name := range []string{"tmp", "tmp/jail", "app"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(filepath.Join(dir, name), 0o777); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Link(filepath.Join(tools, "probe"), filepath.Join(dir, "probe")); err != nil {
		t.Fatal(err)
	}
	return dir
}
