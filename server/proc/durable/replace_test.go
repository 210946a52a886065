package durable

import (
	"os"
	"path/filepath"
	"testing"
)

func TestReplace(t *testing.T) {
	t.Run("Replace", func(t *testing.T) { testReplace(t, Replace) })
	t.Run("Swap", func(t *testing.T) { testReplace(t, Swap) })
}

func testReplace(t *testing.T, replace func(string, []byte) error) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	for _, want := range []string{"first, and longer", "second", ""} {
		if err := replace(path, []byte(want)); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != want {
			t.Errorf("got %q %v, want %q", got, err, want)
		}
	}
	if fi, err := os.Stat(path); err != nil || fi.Mode() != 0o600 {
		t.Errorf("got %v %v, want mode 0600", fi, err)
	}
	only(t, dir, "file")
}

// What cannot be replaced stays, and nothing is left beside it.
func TestReplaceFails(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "folder")
	if err := os.MkdirAll(filepath.Join(path, "full"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := Replace(path, []byte("x")); err == nil {
		t.Error("a file took the place of a folder")
	}
	if err := Replace(filepath.Join(dir, "none", "file"), nil); err == nil {
		t.Error("a file was written where there is no folder")
	}
	only(t, dir, "folder")
}

func only(t *testing.T, dir, want string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 || entries[0].Name() != want {
		t.Errorf("got %v %v, want only %s", entries, err, want)
	}
}

func TestIsTemp(t *testing.T) {
	f, err := os.CreateTemp(t.TempDir(), tempPrefix+"proc.json-*")
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	if !IsTemp(filepath.Base(f.Name())) || IsTemp("proc.json") {
		t.Error("a file that was being written is not known by its name")
	}
}
