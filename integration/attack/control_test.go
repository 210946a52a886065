//go:build integration

package attack

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/gilliam/hypervisor/integration/testbed"
	"github.com/gilliam/hypervisor/isolate"
)

// A control is a place in which an attack is known to work.
type control func(t *testing.T, args []string) report

// weakened is a sandbox whose plan was spoilt.
func weakened(spoil func(*isolate.Plan)) control {
	return func(t *testing.T, args []string) report { return once(t, spec(t, args...), spoil) }
}

// asUser is the host as a user of it sees it.
func asUser(t *testing.T, args []string) report { return bare(t, testbed.AsUser(), args...) }

// asRootOfNamespaces is the root of a sandbox that has nothing but namespaces.
func asRootOfNamespaces(t *testing.T, args []string) report {
	return bare(t, testbed.AsRootOfNamespaces(), append([]string{"-fresh"}, args...)...)
}

// asRoot is the host's own root.
func asRoot(t *testing.T, args []string) report {
	return bare(t, testbed.AsRoot(), append([]string{"-fresh"}, args...)...)
}

// bare runs the probe without a sandbox.
func bare(t *testing.T, attr *syscall.SysProcAttr, args ...string) report {
	t.Helper()
	return testbed.Bare(t, filepath.Join(tools, "probe"), commons(t), attr, args...)
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
	cmd.SysProcAttr = testbed.AsUser()
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
