package rootfs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gilliam/hypervisor/rootfs/manifest"
)

// An arena is a folder to unpack into, beside what must never change.
type arena struct {
	dir     string // holds canary/ and root/
	root    *os.Root
	scratch string
	was     string
}

// unpack unpacks into the arena.
func (a *arena) unpack(r io.Reader, lim UnpackLimits) (stats, error) {
	root, err := os.OpenRoot(a.scratch)
	if err != nil {
		return stats{}, err
	}
	defer root.Close()
	return unpack(r, a.root, lim, func() (*os.File, error) { return nameless(root) })
}

func newArena(t testing.TB) *arena {
	t.Helper()
	dir := t.TempDir()
	for _, d := range []string{"canary", "root"} {
		p := filepath.Join(dir, d)
		if err := errors.Join(os.Mkdir(p, 0o755), os.Chmod(p, 0o755)); err != nil { // whatever the umask
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "canary", "secret"), []byte("sing"), 0o600); err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(filepath.Join(dir, "root"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	a := &arena{dir: dir, root: root, scratch: t.TempDir()}
	a.was = a.outside(t)
	return a
}

// outside lists everything beside root: names, modes, links, sizes, content.
func (a *arena) outside(t testing.TB) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(a.dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if p == filepath.Join(a.dir, "root") {
			return fs.SkipDir
		}
		fi, err := d.Info()
		if err != nil {
			return err
		}
		fmt.Fprintln(&b, p, fi.Mode(), fi.ModTime().UnixNano())
		if fi.Mode().IsRegular() {
			c, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			fmt.Fprintf(&b, "%q\n", c)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// check looks at what was unpacked: nothing outside has changed, and inside
// there is nothing but files, folders and links without rights.
func (a *arena) check(t testing.TB) {
	t.Helper()
	if now := a.outside(t); now != a.was {
		t.Errorf("changed outside the root:\n%s\nwas:\n%s", now, a.was)
	}
	err := filepath.WalkDir(filepath.Join(a.dir, "root"), func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		fi, err := d.Info()
		if err != nil {
			return err
		}
		m := fi.Mode()
		switch {
		case m.IsDir() && m == fs.ModeDir|0o755, m.Type() == fs.ModeSymlink:
		case m.IsRegular() && (m == 0o644 || m == 0o755 || m == 0o444 || m == 0o555):
		case m == 0o600: // one that was being written when the archive broke
		default:
			t.Errorf("%s has mode %v", p, m)
		}
		if uid, _ := owner(fi); uid != os.Geteuid() {
			t.Errorf("%s belongs to %d", p, uid)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// noted checks that the list of what was unpacked is that of what is there.
func (a *arena) noted(t testing.TB, st stats, err error) {
	t.Helper()
	if err != nil {
		return
	}
	is, err := manifest.Scan(context.Background(), filepath.Join(a.dir, "root"), nil)
	if diff := st.List.Diff(is); err != nil || len(diff) > 0 || st.List.Hash() != is.Hash() {
		t.Errorf("what is there is not what was noted: %v, %v", diff, err)
	}
}

// content is expected in the root after a good archive: name to content, or to
// "-> target" for a symbolic link, or "/" for a folder.
type content map[string]string

func (c content) check(t testing.TB, root *os.Root) {
	t.Helper()
	for name, want := range c {
		fi, err := root.Lstat(name)
		got := ""
		switch {
		case errors.Is(err, fs.ErrNotExist):
			got = "(absent)"
		case err != nil:
			got = err.Error()
		case fi.IsDir():
			got = "/"
		case fi.Mode().Type() == fs.ModeSymlink:
			got, _ = root.Readlink(name)
			got = "-> " + got
		default:
			b, _ := root.ReadFile(name)
			got = string(b)
		}
		if got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
}

// outcome checks an error of unpack against what is expected in it; empty: none.
func outcome(t testing.TB, err error, want string) {
	t.Helper()
	switch {
	case want == "" && err != nil:
		t.Errorf("refused: %v", err)
	case want != "" && err == nil:
		t.Errorf("accepted, want an error with %q", want)
	case err != nil && !strings.Contains(err.Error(), want):
		t.Errorf("got %q, want %q in it", err, want)
	case err != nil && len(err.Error()) > 400:
		t.Errorf("the error is %d bytes long", len(err.Error()))
	}
}
