package rootfs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/gilliam/hypervisor/isolate"
)

// ids is a range whose first id these tests may give files to: root may give
// them to any, others to themselves.
func ids() isolate.IDRange {
	if uid := os.Geteuid(); uid != 0 {
		return isolate.IDRange{Base: uint32(uid), Size: 1}
	}
	return isolate.IDRange{Base: 1 << 20, Size: 1 << 16}
}

func newLayers(t testing.TB) *Layers {
	t.Helper()
	l, err := OpenLayers(filepath.Join(t.TempDir(), "layers"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.fd.Close(); l.root.Close() })
	return l
}

// left is everything in the folder of layers, whatever its name.
func left(t testing.TB, l *Layers) []string {
	t.Helper()
	names, err := l.names()
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(names)
	return names
}

func TestLayers(t *testing.T) {
	old := syscall.Umask(0o077)
	defer syscall.Umask(old)
	l := newLayers(t)
	layer, err := l.Create("b", ids(), []string{"dev", "proc", "sys", "app", "tmp", "var/tmp", "var/log/x", "dev"})
	if err != nil {
		t.Fatal(err)
	}
	if want := (isolate.Layer{Upper: l.dir + "/b/upper", Work: l.dir + "/b/work"}); layer != want {
		t.Errorf("got %v, want %v", layer, want)
	}
	base := int(ids().Base)
	for name, want := range map[string]struct {
		mode fs.FileMode
		uid  int
	}{
		"": {0o700, os.Geteuid()}, "b": {0o700, os.Geteuid()}, "b/work": {0o700, os.Geteuid()},
		"b/upper": {0o755, base}, "b/upper/dev": {0o755, base}, "b/upper/var": {0o755, base}, "b/upper/var/log/x": {0o755, base},
		"b/upper/tmp": {0o777 | fs.ModeSticky, base}, "b/upper/var/tmp": {0o777 | fs.ModeSticky, base},
	} {
		fi, err := os.Lstat(filepath.Join(l.dir, name))
		if err != nil {
			t.Error(err)
			continue
		}
		if uid, _ := owner(fi); fi.Mode() != want.mode|fs.ModeDir || uid != want.uid {
			t.Errorf("%q: mode %v, uid %d, want %v, %d", name, fi.Mode(), uid, want.mode, want.uid)
		}
	}
	_, err = l.Create("b", ids(), nil)
	wantErr(t, err, ErrExist, "layer b already exists")
	if _, err := l.Create("a", ids(), nil); err != nil {
		t.Fatal(err)
	}
	if got, err := l.List(); err != nil || !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("got %v, %v", got, err)
	}
	for range 2 {
		if err := l.Remove("b"); err != nil {
			t.Error(err)
		}
	}
	if got := left(t, l); !slices.Equal(got, []string{"a"}) {
		t.Errorf("left: %v", got)
	}
}

func TestLayersRefuse(t *testing.T) {
	l := newLayers(t)
	for _, id := range []string{"", ".", "..", "../x", "a/b", "a\x00b", "-rf", "A", "é", "a\n", ".new-a", ".trash-a", strings.Repeat("a", 65)} {
		_, err := l.Create(id, ids(), nil)
		wantErr(t, err, ErrInvalid, "layer id")
		wantErr(t, l.Remove(id), ErrInvalid, "layer id")
	}
	for _, need := range []string{"", ".", "..", "../x", "/dev", "a/../b", "a//b", "a/"} {
		_, err := l.Create("a", ids(), []string{"dev", need})
		wantErr(t, err, ErrInvalid, "relative path")
	}
	for _, r := range []isolate.IDRange{{}, {Base: 1}, {Size: 1}, {Base: 1<<32 - 1, Size: 2}} {
		_, err := l.Create("a", r, nil)
		wantErr(t, err, ErrInvalid, "no range")
	}
	// A failure in the middle leaves nothing.
	if _, err := l.Create("a", ids(), []string{"dev", strings.Repeat("x", 300)}); !errors.Is(err, syscall.ENAMETOOLONG) {
		t.Errorf("got %v", err)
	}
	if got := left(t, l); len(got) != 0 {
		t.Errorf("left: %v", got)
	}
	if _, err := OpenLayers("relative"); !errors.Is(err, ErrInvalid) {
		t.Errorf("got %v", err)
	}
}

func TestOpenLayersSweeps(t *testing.T) {
	l := newLayers(t)
	if _, err := l.Create("a", ids(), []string{"dev"}); err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{".new-b/upper/x", ".trash-c/upper/x/y", ".other"} {
		if err := os.MkdirAll(filepath.Join(l.dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	again, err := OpenLayers(l.dir)
	if err != nil {
		t.Fatal(err)
	}
	defer again.root.Close()
	defer again.fd.Close()
	if got := left(t, again); !slices.Equal(got, []string{".other", "a"}) {
		t.Errorf("left: %v", got)
	}
}

// What a tenant may leave behind to keep its layer, or to have something else
// removed in its place.
func TestRemoveHostile(t *testing.T) {
	l := newLayers(t)
	canary := filepath.Join(filepath.Dir(l.dir), "canary")
	if err := errors.Join(os.Mkdir(canary, 0o755), os.WriteFile(canary+"/secret", []byte("sing"), 0o600)); err != nil {
		t.Fatal(err)
	}
	// With few descriptors, so that no depth may take one each.
	var lim unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &lim); err != nil {
		t.Fatal(err)
	}
	few := unix.Rlimit{Cur: 200, Max: lim.Max}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &few); err != nil {
		t.Fatal(err)
	}
	defer unix.Setrlimit(unix.RLIMIT_NOFILE, &lim)
	for name, hostile := range map[string]func(upper string) error{
		"symlinks": func(upper string) error {
			return errors.Join(os.Symlink(canary, upper+"/abs"), os.Symlink("../../../canary", upper+"/rel"),
				os.Symlink("loop", upper+"/loop"), os.Symlink("/", upper+"/top"))
		},
		"upper is a symlink": func(upper string) error {
			return errors.Join(os.Remove(upper), os.Symlink(canary, upper))
		},
		"fifos and sockets": func(upper string) error {
			return errors.Join(unix.Mkfifo(upper+"/fifo", 0), unix.Mknod(upper+"/sock", unix.S_IFSOCK, 0))
		},
		"odd names": func(upper string) error {
			var err error
			for _, n := range []string{"-rf", " ", "\n", "\xff\xfe", "...", strings.Repeat("x", 255), `\`, "*"} {
				err = errors.Join(err, os.MkdirAll(filepath.Join(upper, n, n), 0o755))
			}
			return err
		},
		"300 deep":  func(upper string) error { return deep(upper, 300) },
		"2500 deep": func(upper string) error { return deep(upper, 2500) },
		"wide": func(upper string) error {
			for n := range 2500 {
				if err := os.WriteFile(fmt.Sprintf("%s/%d", upper, n), nil, 0); err != nil {
					return err
				}
			}
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			layer, err := l.Create("a", ids(), nil)
			if err != nil {
				t.Fatal(err)
			}
			if err := hostile(layer.Upper); err != nil {
				t.Fatal(err)
			}
			if err := l.Remove("a"); err != nil {
				t.Error(err)
			}
			if got := left(t, l); len(got) != 0 {
				t.Errorf("left: %v", got)
			}
			if b, err := os.ReadFile(canary + "/secret"); err != nil || string(b) != "sing" {
				t.Errorf("the canary has changed: %q, %v", b, err)
			}
		})
	}
}

// deep makes n folders one in the other, deeper than a path can say.
func deep(dir string, n int) error {
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	for range n {
		if err != nil {
			return err
		}
		if err = unix.Mkdirat(fd, "d", 0o755); err != nil {
			break
		}
		var next int
		next, err = unix.Openat(fd, "d", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		unix.Close(fd)
		fd = next
	}
	return errors.Join(err, unix.Close(fd))
}

func TestRemoveAtOnce(t *testing.T) {
	l := newLayers(t)
	for range 20 {
		layer, err := l.Create("a", ids(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := deep(layer.Upper, 50); err != nil {
			t.Fatal(err)
		}
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				if err := l.Remove("a"); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if got := left(t, l); len(got) != 0 {
			t.Fatalf("left: %v", got)
		}
	}
}

func BenchmarkLayer(b *testing.B) {
	l := newLayers(b)
	need := []string{"dev", "proc", "sys", "app", "tmp"}
	n := 0
	b.Run("create", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			n++
			if _, err := l.Create(fmt.Sprint(n), ids(), need); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("remove", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			b.StopTimer()
			if _, err := l.Create("a", ids(), need); err != nil {
				b.Fatal(err)
			}
			b.StartTimer()
			if err := l.Remove("a"); err != nil {
				b.Fatal(err)
			}
		}
	})
}
