package rootfs

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestFetchFile(t *testing.T) {
	dir := t.TempDir()
	allowed, outside := filepath.Join(dir, "images"), filepath.Join(dir, "outside")
	image := sampleImage(t)
	for _, d := range []string{allowed, outside, filepath.Join(allowed, "sub")} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	put := func(p string, b []byte) {
		t.Helper()
		if err := os.WriteFile(p, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put(filepath.Join(allowed, "app.tar.gz"), image)
	put(filepath.Join(allowed, "text"), []byte("root:secret:0"))
	put(filepath.Join(outside, "app.tar.gz"), image)
	for link, to := range map[string]string{
		"inside": "sub/../app.tar.gz", "out": "../outside/app.tar.gz", "abs": outside + "/app.tar.gz", "outdir": "../outside",
	} {
		if err := os.Symlink(to, filepath.Join(allowed, link)); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(allowed, "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	i := newImages(t, ImagesConfig{AllowedDirs: []string{allowed}})
	for _, c := range []struct {
		ref  string
		kind error
		want string
	}{
		{allowed + "/app.tar.gz", nil, ""},
		{allowed + "//sub/./" + "/nothing", ErrNotExist, "no such file"},
		{allowed + "/inside", nil, ""},
		{allowed + "/out", ErrInvalid, "links must not lead out"},
		{allowed + "/abs", ErrInvalid, "links must not lead out"},
		{allowed + "/outdir/app.tar.gz", ErrInvalid, "links must not lead out"},
		{allowed + "/fifo", ErrInvalid, "not a file but a FIFO"},
		{allowed + "/sub", ErrInvalid, "not a file but a folder"},
		{allowed + "/app.tar.gz/x", ErrInvalid, "not a directory"},
		{allowed, ErrInvalid, "below " + allowed},
		{allowed + "x/app.tar.gz", ErrInvalid, "below " + allowed},
		{outside + "/app.tar.gz", ErrInvalid, "below " + allowed},
		{allowed + "/../outside/app.tar.gz", ErrInvalid, `".."`},
		{"/etc/passwd", ErrInvalid, "below " + allowed},
		{allowed + "/a\x00b", ErrInvalid, "NUL"},
	} {
		_, err := i.Fetch(context.Background(), Want{Ref: c.ref})
		if c.want == "" && err != nil {
			t.Errorf("%s: %v", c.ref, err)
		}
		if c.want != "" && (err == nil || !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: got %v, want %v with %q", c.ref, err, c.kind, c.want)
		}
	}
	_, err := i.Fetch(context.Background(), Want{Ref: allowed + "/text"})
	if err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("got %v", err)
	}
	wantErr(t, newImages(t, ImagesConfig{}).Check(allowed+"/app.tar.gz"), ErrInvalid, "allows no folder")

	before, err := i.Fetch(context.Background(), Want{Ref: allowed + "/app.tar.gz"})
	if err != nil {
		t.Fatal(err)
	}
	a := newArchive(t)
	a.file("new", "x")
	put(filepath.Join(allowed, "app.tar.gz"), a.gz())
	after, err := i.Fetch(context.Background(), Want{Ref: allowed + "/app.tar.gz"})
	if err != nil || after.Dir == before.Dir {
		t.Errorf("a changed file gave %+v, %v", after, err)
	}
}

// A file that is written while it is read is no image.
func TestFetchFileChanges(t *testing.T) {
	dir := t.TempDir()
	p := filepath.Join(dir, "app.tar.gz")
	if err := os.WriteFile(p, sampleImage(t), 0o600); err != nil {
		t.Fatal(err)
	}
	i := newImages(t, ImagesConfig{AllowedDirs: []string{dir}})
	src, err := i.source(p)
	if err != nil {
		t.Fatal(err)
	}
	body, err := src.open(context.Background(), mark{})
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	if _, err := io.Copy(io.Discard, body); err != nil {
		t.Fatal(err)
	}
	if err := body.check(); err != nil {
		t.Errorf("unchanged: %v", err)
	}
	if _, err := src.open(context.Background(), body.mark); err != errUnchanged {
		t.Errorf("got %v", err)
	}
	if err := os.Truncate(p, 10); err != nil {
		t.Fatal(err)
	}
	if err := body.check(); !errors.Is(err, errChanged) {
		t.Errorf("got %v", err)
	}
}
