package rootfs

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gilliam/hypervisor/rootfs/manifest"
)

// A copy is the same tree, times and hard links included, and shares no file with
// what it was copied from.
func TestDraftFill(t *testing.T) {
	from, to := filepath.Join(t.TempDir(), "from"), filepath.Join(t.TempDir(), "to")
	old := time.Date(2020, 1, 2, 3, 4, 5, 6, time.UTC)
	for _, dir := range []string{to, from, from + "/etc", from + "/sticky"} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, err := range []error{
		os.WriteFile(from+"/etc/a", []byte("content"), 0o644),
		os.Chmod(from+"/etc/a", 0o755|os.ModeSetuid),
		os.Link(from+"/etc/a", from+"/etc/b"),
		os.Symlink("/etc/passwd", from+"/etc/link"),
		unix.Mkfifo(from+"/etc/pipe", 0o640),
		os.Chmod(from+"/sticky", 0o777|os.ModeSticky),
		unix.Lsetxattr(from+"/etc/a", "user.test", []byte("value"), 0),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"/etc/a", "/etc/link", "/etc", ""} {
		at := unix.NsecToTimespec(old.UnixNano())
		if err := unix.UtimesNanoAt(unix.AT_FDCWD, from+name, []unix.Timespec{at, at}, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			t.Fatal(err)
		}
	}
	d := &Draft{Dir: to}
	if err := d.Fill(t.Context(), Template{Name: "x", Path: from}); err != nil {
		t.Fatal(err)
	}
	a, err := manifest.Scan(t.Context(), from, nil)
	if err != nil {
		t.Fatal(err)
	}
	b, err := manifest.Scan(t.Context(), to, nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := a.Diff(b); len(diff) > 0 {
		t.Errorf("differs: %v", diff)
	}
	for _, name := range []string{"/etc/a", "/etc/link", "/etc", ""} {
		if fi, err := os.Lstat(to + name); err != nil || !fi.ModTime().Equal(old) {
			t.Errorf("%s is of %v, want %v: %v", name, fi.ModTime(), old, err)
		}
	}
	one, err1 := os.Lstat(to + "/etc/a")
	two, err2 := os.Lstat(to + "/etc/b")
	theirs, err3 := os.Lstat(from + "/etc/a")
	if err1 != nil || err2 != nil || err3 != nil || !os.SameFile(one, two) || os.SameFile(one, theirs) {
		t.Errorf("hard links: %v %v %v", err1, err2, err3)
	}
}
