package workdir

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
)

// What was left is swept, what is worked in is not, nor is what has another name.
func TestSweep(t *testing.T) {
	parent := t.TempDir()
	alive, err := Make(parent, ".work-")
	if err != nil {
		t.Fatal(err)
	}
	dead, err := Make(parent, ".work-")
	if err != nil {
		t.Fatal(err)
	}
	if err := dead.Abandon(); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(parent, "other"), 0o700); err != nil {
		t.Fatal(err)
	}
	if left, err := Left(parent, ".work-"); err != nil || !slices.Equal(left, []string{filepath.Base(dead.Path)}) {
		t.Errorf("left %q, %v", left, err)
	}
	var swept []string
	discard := func(path string) error {
		swept = append(swept, path)
		return os.RemoveAll(path)
	}
	if err := Sweep(parent, ".work-", discard); err != nil || !slices.Equal(swept, []string{dead.Path}) {
		t.Errorf("swept %q, %v; want %q", swept, err, dead.Path)
	}
	if fi, err := os.Stat(alive.Path); err != nil || fi.Mode() != os.ModeDir|0o700 {
		t.Errorf("what is worked in: %v, %v", fi, err)
	}
	if err := alive.Remove(); err != nil {
		t.Error(err)
	}
	if left, err := filepath.Glob(parent + "/.work-*"); err != nil || len(left) > 0 {
		t.Errorf("left: %q, %v", left, err)
	}
}

// Without a parent nothing was left; what cannot be discarded is told.
func TestSweepFails(t *testing.T) {
	parent := t.TempDir()
	bad := errors.New("bad")
	discard := func(string) error { return bad }
	if err := Sweep(filepath.Join(parent, "none"), ".work-", discard); err != nil {
		t.Errorf("no parent: %v", err)
	}
	if _, err := Make(filepath.Join(parent, "none"), ".work-"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("made without a parent: %v", err)
	}
	dead, err := Make(parent, ".work-")
	if err != nil {
		t.Fatal(err)
	}
	if err := dead.Abandon(); err != nil {
		t.Fatal(err)
	}
	if err := Sweep(parent, ".work-", discard); !errors.Is(err, bad) {
		t.Errorf("got %v, want %v", err, bad)
	}
}

// However sweeps and makers meet, a folder that was made is there and nobody else's.
func TestMakeWhileSwept(t *testing.T) {
	parent := t.TempDir()
	var all sync.WaitGroup
	for range 4 { // ends after its rounds; the test waits
		all.Go(func() {
			for range 50 {
				if err := Sweep(parent, ".work-", os.RemoveAll); err != nil {
					t.Error(err)
				}
			}
		})
		all.Go(func() {
			for range 50 {
				d, err := Make(parent, ".work-")
				if err != nil {
					t.Error(err)
					return
				}
				if err := os.WriteFile(filepath.Join(d.Path, "mine"), nil, 0o600); err != nil {
					t.Error(err)
				}
				if err := d.Remove(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
}
