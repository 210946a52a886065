//go:build integration

package rootfs

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/gilliam/hypervisor/isolate"
)

func TestMain(m *testing.M) {
	if os.Geteuid() != 0 {
		fmt.Fprintln(os.Stderr, "rootfs: the integration tests must run as root: sudo make test")
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// inOwnMounts runs fn on a thread with a mount namespace of its own, which ends
// with it: whatever fn mounts, the host never sees. A mount point
// is busy only to threads of its own namespace, so fn works on this one alone.
func inOwnMounts(t *testing.T, fn func() error) {
	t.Helper()
	errs := make(chan error)
	// Ends with fn; its thread, never unlocked, ends with it.
	go func() {
		runtime.LockOSThread()
		if err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS); err != nil {
			errs <- fmt.Errorf("unshare: %w", err)
			return
		}
		if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
			errs <- fmt.Errorf("make / private: %w", err)
			return
		}
		errs <- fn()
	}()
	if err := <-errs; err != nil {
		t.Error(err)
	}
}

// A mount that was left in a layer is an error, and what is mounted stays.
func TestRemoveKeepsOffMounts(t *testing.T) {
	l := newLayers(t)
	canary := filepath.Join(t.TempDir(), "canary")
	if err := errors.Join(os.MkdirAll(canary+"/d", 0o755), os.WriteFile(canary+"/d/secret", []byte("sing"), 0o600)); err != nil {
		t.Fatal(err)
	}
	for _, place := range []string{"app", "a/b/c", ""} {
		layer, err := l.Create("a", isolate.IDRange{Base: 1 << 20, Size: 1 << 16}, []string{"app", "a/b/c"})
		if err != nil {
			t.Fatal(err)
		}
		inOwnMounts(t, func() error {
			if err := unix.Mount(canary, filepath.Join(layer.Upper, place), "", unix.MS_BIND, ""); err != nil {
				return err
			}
			if err := l.Remove("a"); !errors.Is(err, unix.EBUSY) {
				return fmt.Errorf("mounted at %q: got %v, want EBUSY", place, err)
			}
			if list, err := l.List(); err != nil || len(list) != 0 {
				return fmt.Errorf("still listed: %v, %v", list, err)
			}
			return nil
		})
		// In this namespace nothing is mounted, so that the next to open it can finish.
		if next, err := OpenLayers(l.dir); err != nil {
			t.Error(err)
		} else if err := next.Close(); err != nil {
			t.Error(err)
		}
		if got := left(t, l); len(got) != 0 {
			t.Errorf("left: %v", got)
		}
		if b, err := os.ReadFile(canary + "/d/secret"); err != nil || string(b) != "sing" {
			t.Errorf("the canary has changed: %q, %v", b, err)
		}
	}
}

// What only an overlay, or a tenant with its own ids, leaves in a layer.
func TestRemoveTenants(t *testing.T) {
	l := newLayers(t)
	r := isolate.IDRange{Base: 1 << 20, Size: 1 << 16}
	layer, err := l.Create("a", r, []string{"tmp"})
	if err != nil {
		t.Fatal(err)
	}
	u := layer.Upper
	err = errors.Join(
		unix.Mknod(u+"/whiteout", unix.S_IFCHR, 0),
		unix.Setxattr(u+"/tmp", "trusted.overlay.opaque", []byte("y"), 0),
		os.MkdirAll(layer.Work+"/work/index", 0o755), os.Chmod(layer.Work+"/work", 0),
		os.MkdirAll(u+"/closed/in", 0o755), os.WriteFile(u+"/closed/in/f", nil, 0),
		os.Chmod(u+"/closed/in", 0), os.Lchown(u+"/closed/in", int(r.Base)+1000, int(r.Base)+1000), os.Chmod(u+"/closed", 0),
		os.WriteFile(u+"/suid", nil, 0o755), os.Chmod(u+"/suid", 0o755|fs.ModeSetuid),
	)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Remove("a"); err != nil {
		t.Error(err)
	}
	if got := left(t, l); len(got) != 0 {
		t.Errorf("left: %v", got)
	}
}

// More folders in one folder than are read at a time, with files in each.
func TestRemoveLarge(t *testing.T) {
	l := newLayers(t)
	layer, err := l.Create("a", isolate.IDRange{Base: 1 << 20, Size: 1 << 16}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for d := range 2_000 {
		dir := fmt.Sprintf("%s/%d", layer.Upper, d)
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		for f := range 5 {
			if err := unix.Mknod(fmt.Sprintf("%s/%d", dir, f), unix.S_IFREG|0o644, 0); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := l.Remove("a"); err != nil {
		t.Error(err)
	}
	if got := left(t, l); len(got) != 0 {
		t.Errorf("left: %v", got)
	}
}

// All of an image is root's, whoever packed it, and other users of the host do
// not reach it, nor a layer.
func TestOthersKeptOut(t *testing.T) {
	i := newImages(t, ImagesConfig{})
	l := newLayers(t)
	layer, err := l.Create("a", isolate.IDRange{Base: 1 << 20, Size: 1 << 16}, nil)
	if err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(i.cfg.Dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	a := newArchive(t)
	a.file("d/f", "x")
	if _, err := unpack(bytes.NewReader(a.gz()), root, UnpackLimits{}, nil); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"d", "d/f"} {
		fi, err := root.Lstat(name)
		if err != nil {
			t.Fatal(err)
		}
		if uid, gid := owner(fi); uid != 0 || gid != 0 {
			t.Errorf("%s belongs to %d:%d", name, uid, gid)
		}
	}
	// The test's own folder is open, so that it is ours that keep them out.
	open := filepath.Dir(filepath.Dir(i.cfg.Dir))
	if err := errors.Join(os.Chmod(open, 0o755), os.Chmod(filepath.Dir(filepath.Dir(l.dir)), 0o755)); err != nil {
		t.Fatal(err)
	}
	errs := make(chan error)
	// The thread takes another user's ids and ends with the goroutine.
	go func() {
		runtime.LockOSThread()
		// The raw calls: Go's own would change every thread.
		if _, _, e := syscall.RawSyscall(syscall.SYS_SETRESGID, 65533, 65533, 65533); e != 0 {
			errs <- e
			return
		}
		if _, _, e := syscall.RawSyscall(syscall.SYS_SETRESUID, 65533, 65533, 65533); e != 0 {
			errs <- e
			return
		}
		var st unix.Stat_t
		for _, p := range []string{i.cfg.Dir, l.dir} {
			if err := unix.Stat(p, &st); err != nil {
				errs <- fmt.Errorf("the control: %w", err)
				return
			}
		}
		for _, p := range []string{filepath.Join(i.cfg.Dir, "d/f"), layer.Upper} {
			if err := unix.Stat(p, &st); err != unix.EACCES {
				errs <- fmt.Errorf("another user's stat of %s: %v", p, err)
				return
			}
		}
		errs <- nil
	}()
	if err := <-errs; err != nil {
		t.Error(err)
	}
}
