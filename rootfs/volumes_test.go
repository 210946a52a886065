package rootfs

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/gilliam/hypervisor/isolate"
)

func newVolumes(t testing.TB, dir string) *Volumes {
	t.Helper()
	v, err := OpenVolumes(VolumesConfig{Dir: dir, Max: 5})
	must(t, err)
	t.Cleanup(func() { must(t, v.Close()) })
	return v
}

// remove removes a volume with what is in it.
func (v *Volumes) remove(name string) error {
	empty, err := v.Remove(name)
	if err != nil {
		return err
	}
	return empty()
}

// inVolumes is everything in the folder of volumes, whatever its name.
func inVolumes(t testing.TB, v *Volumes) []string {
	t.Helper()
	names, err := v.entries()
	must(t, err)
	slices.Sort(names)
	return names
}

func TestVolumes(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0o077))
	v := newVolumes(t, filepath.Join(t.TempDir(), "volumes"))
	made, err := v.Create("b.1", 0)
	must(t, err)
	user := isolate.User{UID: ids().Base, GID: uint32(os.Getegid())}
	taken, err := v.Take("a", 0, user) // which makes it
	must(t, err)
	if taken.Owner == nil || *taken.Owner != user || made.Owner != nil {
		t.Errorf("owners %v, %v", taken.Owner, made.Owner)
	}
	if again, err := v.Take("a", 0, isolate.User{UID: 77, GID: 77}); err != nil || *again.Owner != user {
		t.Errorf("taken again: %+v %v", again, err)
	}
	must(t, os.WriteFile(filepath.Join(v.Path("a"), "file"), []byte("kept"), 0o600))

	for path, mode := range map[string]fs.FileMode{"": 0o700, "a": 0o700, "a/data": 0o755, "a/volume.json": 0o600, "b.1": 0o700, "b.1/data": 0o755} {
		fi, err := os.Lstat(filepath.Join(v.cfg.Dir, path))
		must(t, err)
		if fi.Mode().Perm() != mode {
			t.Errorf("%s: mode %04o, want %04o", path, fi.Mode().Perm(), mode)
		}
		if uid, gid := owner(fi); path == "a/data" && (uid != int(user.UID) || gid != int(user.GID)) {
			t.Errorf("%s is %d:%d's", path, uid, gid)
		}
	}
	next := newVolumes(t, v.cfg.Dir) // as the next hypervisor finds it
	list, err := next.List()
	must(t, err)
	if len(list) != 2 || list[0].Name != "a" || *list[0].Owner != user || list[1].Name != "b.1" || !list[1].Created.Equal(made.Created) {
		t.Errorf("got %+v", list)
	}
	if b, err := os.ReadFile(filepath.Join(next.Path("a"), "file")); err != nil || string(b) != "kept" {
		t.Errorf("got %q %v", b, err)
	}
	must(t, next.remove("a"))
	if _, err := next.Get("a"); !errors.Is(err, ErrNotExist) {
		t.Errorf("removed: %v", err)
	}
	if left := inVolumes(t, next); !slices.Equal(left, []string{"b.1"}) {
		t.Errorf("left: %q", left)
	}
}

func TestVolumesRefused(t *testing.T) {
	v := newVolumes(t, filepath.Join(t.TempDir(), "volumes"))
	for _, name := range []string{"", ".", "..", ".new-a", "-a", "_a", "A", "a/b", "../a", "a\x00", "a\n", "ä", strings.Repeat("a", 64)} {
		if _, err := v.Create(name, 0); !errors.Is(err, ErrInvalid) {
			t.Errorf("create %q: %v", name, err)
		}
		if _, err := v.Take(name, 0, isolate.User{}); !errors.Is(err, ErrInvalid) {
			t.Errorf("take %q: %v", name, err)
		}
		if _, err := v.Get(name); !errors.Is(err, ErrNotExist) {
			t.Errorf("get %q: %v", name, err)
		}
		if err := v.remove(name); !errors.Is(err, ErrNotExist) {
			t.Errorf("remove %q: %v", name, err)
		}
	}
	if err := v.remove("none"); !errors.Is(err, ErrNotExist) {
		t.Errorf("remove: %v", err)
	}
	for n := range 5 {
		_, err := v.Create(string(rune('a'+n)), 0)
		must(t, err)
	}
	if _, err := v.Create("a", 0); !errors.Is(err, ErrExist) {
		t.Errorf("again: %v", err)
	}
	if _, err := v.Create("f", 0); !errors.Is(err, ErrFull) {
		t.Errorf("a sixth: %v", err)
	}
	if _, err := v.Take("f", 0, isolate.User{}); !errors.Is(err, ErrFull) {
		t.Errorf("take a sixth: %v", err)
	}
	if left := inVolumes(t, v); len(left) != 5 {
		t.Errorf("left: %q", left)
	}
	if _, err := OpenVolumes(VolumesConfig{Dir: "relative"}); !errors.Is(err, ErrInvalid) {
		t.Errorf("relative: %v", err)
	}
}

// What was half made or half removed is removed by the next start, and nothing else:
// not even what is no volume.
func TestVolumesLeftovers(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "volumes")
	v := newVolumes(t, dir)
	_, err := v.Create("keep", 0)
	must(t, err)
	for _, name := range []string{".new-half", ".trash-gone-ABC", ".other", "Strange", "damaged"} {
		must(t, os.MkdirAll(filepath.Join(dir, name, "data", "deep"), 0o700))
	}
	v.busy[".new-half"] = true // being made at this moment
	if left, err := v.Leftovers(); err != nil || !slices.Equal(left, []string{".trash-gone-ABC"}) {
		t.Errorf("got %q %v", left, err)
	}
	for _, name := range []string{"keep", "..", ".new-/../keep", ".other"} {
		if err := v.RemoveLeftover(name); err == nil {
			t.Errorf("%s was removed as a leftover", name)
		}
	}
	v = newVolumes(t, dir)
	if left := inVolumes(t, v); !slices.Equal(left, []string{".other", "Strange", "damaged", "keep"}) {
		t.Errorf("left: %q", left)
	}
	list, err := v.List()
	if err != nil || len(list) != 2 || list[0].Name != "damaged" || list[0].Damage == "" || list[1].Damage != "" {
		t.Errorf("got %+v %v", list, err)
	}
	if _, err := v.Take("damaged", 0, isolate.User{}); err == nil || errors.Is(err, ErrNotExist) || errors.Is(err, ErrExist) {
		t.Errorf("taken: %v", err)
	}
	must(t, os.WriteFile(filepath.Join(dir, "damaged", volumeRecord), []byte("{"), 0o600))
	if _, err := v.Get("damaged"); err == nil {
		t.Error("half a record was taken")
	}
	must(t, v.remove("damaged"))
}

// What a tenant leaves in a volume is removed without harm to what it points to.
func TestVolumeHostile(t *testing.T) {
	dir := t.TempDir()
	canary := filepath.Join(dir, "canary")
	must(t, os.WriteFile(canary, []byte("host"), 0o600))
	v := newVolumes(t, filepath.Join(dir, "volumes"))
	_, err := v.Create("a", 0)
	must(t, err)
	data := v.Path("a")
	must(t, os.Symlink(canary, filepath.Join(data, "link")))
	must(t, os.Symlink(dir, filepath.Join(data, "folder")))
	must(t, unix.Mkfifo(filepath.Join(data, "fifo"), 0o000))
	must(t, os.WriteFile(filepath.Join(data, "setuid"), nil, 0o4777))
	deep, err := os.OpenRoot(data)
	must(t, err)
	for range 300 {
		must(t, deep.Mkdir(strings.Repeat("d", 200), 0o700))
		next, err := deep.OpenRoot(strings.Repeat("d", 200))
		must(t, err)
		deep.Close()
		deep = next
	}
	deep.Close()
	must(t, v.remove("a"))
	if b, err := os.ReadFile(canary); string(b) != "host" || err != nil {
		t.Errorf("the canary: %q %v", b, err)
	}
	if left := inVolumes(t, v); len(left) != 0 {
		t.Errorf("left: %q", left)
	}
}

// However many ask for one volume at once, it is made once; and it is removed once.
func TestVolumesAtOnce(t *testing.T) {
	v := newVolumes(t, filepath.Join(t.TempDir(), "volumes"))
	user := isolate.User{UID: ids().Base, GID: uint32(os.Getegid())}
	var made, removed atomic.Int32
	for range 3 {
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				if _, err := v.Create("a", 0); err == nil {
					made.Add(1)
				} else if !errors.Is(err, ErrExist) {
					t.Error(err)
				}
			})
			all.Go(func() {
				if _, err := v.Take("b", 0, user); err != nil {
					t.Error(err)
				}
				if _, err := v.List(); err != nil {
					t.Error(err)
				}
				if left, err := v.Leftovers(); err != nil || len(left) > 0 {
					t.Errorf("leftovers %q %v", left, err)
				}
			})
		}
		all.Wait()
		for range 8 {
			all.Go(func() {
				if err := v.remove("a"); err == nil {
					removed.Add(1)
				} else if !errors.Is(err, ErrNotExist) {
					t.Error(err)
				}
			})
		}
		all.Wait()
	}
	if made.Load() != 3 || removed.Load() != 3 {
		t.Errorf("made %d times, removed %d times", made.Load(), removed.Load())
	}
}

// A volume with a size has all of its space from the start, and a file system once
// somebody has it, which is made once.
func TestSizedVolumes(t *testing.T) {
	v := newVolumes(t, filepath.Join(t.TempDir(), "volumes"))
	const size = 8 << 20
	_, err := v.Create("a", size)
	must(t, err)
	shape, err := isolate.VolumeShape(size)
	must(t, err)
	var st unix.Stat_t
	must(t, unix.Stat(v.Image("a"), &st))
	if st.Size != shape.Size() || st.Blocks*512 < st.Size || st.Mode&0o777 != 0o600 {
		t.Errorf("got %d bytes in %d blocks, mode %o, want %d bytes", st.Size, st.Blocks, st.Mode, shape.Size())
	}
	for _, other := range []int64{size + 1, 1 << 20} {
		if _, err := v.Take("a", other, isolate.User{UID: 7, GID: 8}); !errors.Is(err, ErrInvalid) {
			t.Errorf("taken as of another size: %v", err)
		}
	}
	vol, err := v.Take("a", 0, isolate.User{UID: 7, GID: 8})
	must(t, err)
	made, err := os.ReadFile(v.Image("a"))
	must(t, err)
	if vol.Size != size || made[1024+0x38] != 0x53 {
		t.Errorf("got %+v, magic %x", vol, made[1024+0x38])
	}
	again, err := v.Take("a", size, isolate.User{UID: 9, GID: 9})
	must(t, err)
	if b, err := os.ReadFile(v.Image("a")); err != nil || string(b) != string(made) || *again.Owner != (isolate.User{UID: 7, GID: 8}) {
		t.Errorf("made twice: %+v %v", again, err)
	}
	if _, err := v.Take("b", size, isolate.User{}); err != nil {
		t.Errorf("made when it was asked for: %v", err)
	}
	if _, err := v.Create("none", 0); err != nil {
		t.Fatal(err)
	}
	if _, err := v.Take("none", size, isolate.User{}); !errors.Is(err, ErrInvalid) {
		t.Errorf("one without a size taken as one with: %v", err)
	}
	for _, wrong := range []int64{-1, 1, isolate.MinVolume - 1, isolate.MaxVolume + 1} {
		if _, err := v.Create("wrong", wrong); !errors.Is(err, ErrInvalid) {
			t.Errorf("%d bytes: %v", wrong, err)
		}
	}
	s, err := spaceOf(v.fd)
	must(t, err)
	if _, err := v.Create("huge", min(2*s.Free, isolate.MaxVolume)); !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "are free") {
		t.Errorf("more than there is: %v", err)
	}
	must(t, v.remove("a"))
	if left := inVolumes(t, v); !slices.Equal(left, []string{"b", "none"}) {
		t.Errorf("left: %q", left)
	}
}
