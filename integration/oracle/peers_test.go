//go:build integration

package oracle

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"

	"github.com/gilliam/hypervisor/integration/testbed"
)

// unpacked is where the Makefile unpacks LXC. It is not installed: its package
// would start a bridge on the host.
const unpacked = "../../bin/lxc"

// A peers runs /bin/true by the programs that others use.
type peers struct {
	bundle string // of OCI, for runc and crun: the template itself, read-only
	v1     func(func() error) error
	asLXC  func(func() error) error
	config string // of LXC
	state  string // of LXC
}

func newPeers(b *testing.B) *peers {
	b.Helper()
	if _, err := os.Stat(unpacked); err != nil {
		b.Fatalf("%v: make packages bin/lxc", err)
	}
	p := &peers{bundle: newBundle(b), state: b.TempDir()}
	// Debian's crun refuses to work with a v2 hierarchy beside those of v1.
	hideUnified := func() error {
		if err := unix.Unmount("/sys/fs/cgroup/unified", unix.MNT_DETACH); err != nil && err != unix.EINVAL && err != unix.ENOENT {
			return fmt.Errorf("unmount /sys/fs/cgroup/unified: %w", err)
		}
		return nil
	}
	p.v1 = stage(b, hideUnified)
	usr, err := filepath.Abs(unpacked + "/usr")
	if err != nil {
		b.Fatal(err)
	}
	p.asLXC = stage(b, func() error {
		if err := hideUnified(); err != nil {
			return err
		}
		if err := unix.Mount("none", "/usr", "overlay", unix.MS_RDONLY, "lowerdir="+usr+":/usr"); err != nil {
			return fmt.Errorf("mount LXC on /usr: %w", err)
		}
		return nil
	})
	p.configureLXC(b)
	return p
}

func (p *peers) runc() error {
	return run("runc", "run", "--bundle", p.bundle, "bench-"+uuid.NewString())
}

func (p *peers) crun() error {
	return p.v1(func() error { return run("crun", "run", "--bundle", p.bundle, "bench-"+uuid.NewString()) })
}

// bwrap makes a user namespace, but no overlay, cgroup or filter.
func (p *peers) bwrap() error {
	return run("bwrap", "--unshare-all", "--uid", "1000", "--gid", "1000", "--cap-drop", "ALL", "--die-with-parent",
		"--ro-bind", testbed.TemplateDir(), "/", "--dev", "/dev", "--proc", "/proc", "--tmpfs", "/tmp", "/bin/true")
}

// lxc makes an overlay and a cgroup, but no user namespace or filter.
func (p *peers) lxc() error {
	return p.asLXC(func() error {
		return run("lxc-execute", "-P", p.state, "-f", p.config, "-n", "bench-"+uuid.NewString(), "--", "/bin/true")
	})
}

func run(name string, args ...string) error {
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", name, err, out)
	}
	return nil
}

// newBundle is a bundle as `runc spec` makes it.
func newBundle(b *testing.B) string {
	dir := b.TempDir()
	if err := run("runc", "spec", "--bundle", dir); err != nil {
		b.Fatal(err)
	}
	path := filepath.Join(dir, "config.json")
	text, err := os.ReadFile(path)
	if err != nil {
		b.Fatal(err)
	}
	var config map[string]any
	if err := json.Unmarshal(text, &config); err != nil {
		b.Fatal(err)
	}
	process := config["process"].(map[string]any)
	process["args"], process["terminal"] = []string{"/bin/true"}, false
	config["root"] = map[string]any{"path": testbed.TemplateDir(), "readonly": true}
	if text, err = json.Marshal(config); err == nil {
		err = os.WriteFile(path, text, 0o600)
	}
	if err != nil {
		b.Fatal(err)
	}
	return dir
}

// leftByLXC are the cgroups that LXC makes and does not remove.
func leftByLXC() []string {
	v1, _ := filepath.Glob("/sys/fs/cgroup/*/lxc.pivot") // the only error is a bad pattern
	v2, _ := filepath.Glob("/sys/fs/cgroup/lxc.pivot")
	return append(v1, v2...)
}

// configureLXC writes LXC's configuration, and at the end removes what LXC
// leaves, unless somebody else's was there.
func (p *peers) configureLXC(b *testing.B) {
	if len(leftByLXC()) == 0 {
		b.Cleanup(func() {
			for _, dir := range leftByLXC() {
				if err := os.Remove(dir); err != nil {
					b.Error(err)
				}
			}
		})
	}
	dir := b.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "upper"), 0o755); err != nil {
		b.Fatal(err)
	}
	p.config = filepath.Join(dir, "config")
	text := fmt.Sprintf("lxc.rootfs.path = overlay:%s:%s/upper\nlxc.uts.name = bench\nlxc.net.0.type = empty\nlxc.mount.auto = proc:mixed sys:ro\n",
		testbed.TemplateDir(), dir)
	if err := os.WriteFile(p.config, []byte(text), 0o600); err != nil {
		b.Fatal(err)
	}
}

// stage runs functions on a thread whose mounts are its own, prepared once, and
// are gone when the benchmark ends.
func stage(b *testing.B, prepare func() error) func(func() error) error {
	todo, done := make(chan func() error), make(chan error)
	b.Cleanup(func() { close(todo) })
	// Owned by the benchmark: ends, and its thread with it, when todo is closed.
	go func() {
		runtime.LockOSThread()
		err := unix.Unshare(unix.CLONE_NEWNS | unix.CLONE_FS)
		if err == nil {
			err = unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
		}
		done <- errors.Join(err, prepare())
		for f := range todo {
			done <- f()
		}
	}()
	if err := <-done; err != nil {
		b.Fatal(err)
	}
	return func(f func() error) error {
		todo <- f
		return <-done
	}
}
