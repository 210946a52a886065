package rootfs

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/gilliam/hypervisor/isolate"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestBindDirs(t *testing.T) {
	top := t.TempDir()
	real, other := filepath.Join(top, "real"), filepath.Join(top, "other")
	must(t, os.MkdirAll(filepath.Join(real, "in"), 0o755))
	must(t, os.Mkdir(other, 0o755))
	must(t, os.WriteFile(filepath.Join(real, "in", "file"), nil, 0o644))
	must(t, os.Symlink("real", filepath.Join(top, "given")))
	must(t, os.Symlink("in/file", filepath.Join(real, "link")))
	must(t, os.Symlink("../other", filepath.Join(real, "up")))
	must(t, os.Symlink(real, filepath.Join(real, "absolute")))
	must(t, os.Symlink("loop", filepath.Join(real, "loop")))
	must(t, unix.Mkfifo(filepath.Join(real, "fifo"), 0o600))
	given := filepath.Join(top, "given")
	dirs, err := OpenBindDirs([]string{given}, []string{filepath.Join(top, "state")})
	must(t, err)
	for source, want := range map[string]string{"": "", "/in": "/in", "/in/file": "/in/file", "/link": "/link"} {
		got, err := dirs.Check(given + source)
		if err != nil || got != (isolate.Bind{Source: real + want, Within: real}) {
			t.Errorf("%s: got %+v %v", source, got, err)
		}
	}
	for source, want := range map[string]string{
		given + "/up": "lead out", given + "/up/x": "lead out", given + "/absolute": "lead out", given + "/loop": "too many levels", given + "/fifo": "not a FIFO",
		given + "/none": "nothing there", given + "/in/file/x": "not a directory", given + "/../other": "without", given + "/": "without",
		given + "er": "or lie in it", other: "or lie in it", real: "or lie in it", "/": "or lie in it", "": "absolute", "given": "absolute", given + "\x00": "absolute",
		"/" + strings.Repeat("x", 5000): "absolute",
	} {
		if _, err := dirs.Check(source); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: got %v, want %s", source, err, want)
		}
	}
	none, err := OpenBindDirs(nil, nil)
	must(t, err)
	if _, err := none.Check("/srv"); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "--allow-bind") {
		t.Errorf("none allowed: got %v", err)
	}
}

// No folder is allowed that leads to what is private.
func TestBindDirsRefused(t *testing.T) {
	top := t.TempDir()
	state := filepath.Join(top, "var", "state")
	must(t, os.MkdirAll(filepath.Join(state, "volumes"), 0o700))
	must(t, os.Symlink(state, filepath.Join(top, "link")))
	must(t, os.Symlink("/", filepath.Join(top, "all")))
	must(t, os.WriteFile(filepath.Join(top, "file"), nil, 0o644))
	for _, dir := range []string{
		top, filepath.Dir(state), state, filepath.Join(state, "volumes"), filepath.Join(top, "link"), filepath.Join(top, "all"), filepath.Join(top, "file"),
		filepath.Join(top, "none"), "/", "/proc", "/proc/self/fd", "/sys/kernel", "/dev/shm", "relative", "",
	} {
		if _, err := OpenBindDirs([]string{dir}, []string{filepath.Join(top, "link")}); err == nil {
			t.Errorf("%s: allowed", dir)
		}
	}
}
