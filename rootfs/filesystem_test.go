package rootfs

import (
	"bytes"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gilliam/hypervisor/isolate"
	"github.com/gilliam/hypervisor/rootfs/fsimage"
	"github.com/gilliam/hypervisor/rootfs/fsimage/fsimagetest"
)

// A file system is kept as it was sent, by its digest, and is one again for the next
// hypervisor, as long as the operator allows it.
func TestFetchFileSystem(t *testing.T) {
	if types := fsimage.Types(); len(types) != len(isolate.FileSystemTypes) {
		t.Errorf("images are of %v, and can be mounted of %v", types, isolate.FileSystemTypes)
	}
	for _, kind := range isolate.FileSystemTypes {
		t.Run(kind, func(t *testing.T) {
			b := fsimagetest.Image(t, kind)
			o := newOrigin(t, b)
			i := newImages(t, ImagesConfig{FileSystems: []string{kind}})
			img := fetchOK(t, i, Want{Ref: o.URL, Holder: "p"})
			if img.FileSystem == nil || img.FileSystem.Type != kind || img.Digest != digestOf(b) || img.Bytes != int64(len(b)) || img.Entries < 8 || img.Entries > 10 {
				t.Fatalf("got %+v", img)
			}
			if got, err := os.ReadFile(img.FileSystem.Path); err != nil || !bytes.Equal(got, b) {
				t.Errorf("kept as %d bytes, %v", len(got), err)
			}
			if entries, err := os.ReadDir(img.Dir); err != nil || len(entries) > 0 {
				t.Errorf("beside it are %v, %v", entries, err)
			}
			list, err := i.List()
			if err != nil || len(list) != 1 || list[0].Format != kind || list[0].Disk != int64(len(b)) || !slices.Equal(list[0].UsedBy, []string{"p"}) {
				t.Errorf("listed as %+v, %v", list, err)
			}

			next := newImages(t, ImagesConfig{Dir: i.cfg.Dir, FileSystems: []string{kind}})
			if got := next.Hold(img.FileSystem.Path, "p"); got != img.Digest {
				t.Errorf("held as %q", got)
			}
			if err := next.Remove(list[0].ID); !errors.Is(err, ErrInUse) {
				t.Errorf("removed while in use: %v", err)
			}
			if again := fetchOK(t, next, Want{Ref: o.URL, Digest: img.Digest}); *again.FileSystem != *img.FileSystem {
				t.Errorf("got %+v", again)
			}
			not := newImages(t, ImagesConfig{Dir: i.cfg.Dir})
			if _, err := not.Fetch(t.Context(), Want{Ref: o.URL, Digest: img.Digest}); err == nil || !strings.Contains(err.Error(), "--allow-image-fs "+kind) {
				t.Errorf("not allowed any more: %v", err)
			}
		})
	}
}

// What is no whole file system, too large, or not allowed is refused, and leaves
// nothing.
func TestFetchBadFileSystem(t *testing.T) {
	patched := func(kind string, at int, with ...byte) []byte {
		b := fsimagetest.Image(t, kind)
		copy(b[at:], with)
		return b
	}
	for name, c := range map[string]struct {
		b    []byte
		cfg  ImagesConfig
		want string
	}{
		"not allowed":        {fsimagetest.Image(t, "squashfs"), ImagesConfig{FileSystems: []string{"erofs"}}, "is a file system (squashfs)"},
		"nothing is allowed": {fsimagetest.Image(t, "erofs"), ImagesConfig{}, "--allow-image-fs erofs"},
		"too many files":     {fsimagetest.Image(t, "squashfs"), ImagesConfig{Limits: UnpackLimits{Entries: 5}}, "more than 5 files"},
		"too large":          {fsimagetest.Image(t, "erofs"), ImagesConfig{Limits: UnpackLimits{Download: 4000}}, "larger than 3.906 KiB"},
		"cut off":            {fsimagetest.Image(t, "squashfs")[:400], ImagesConfig{}, "ends too early"},
		"erofs cut off":      {fsimagetest.Image(t, "erofs")[:2048], ImagesConfig{}, "ends too early"},
		"without padding":    {fsimagetest.Image(t, "squashfs")[:478], ImagesConfig{}, "without -nopad"},
		"of version 3":       {patched("squashfs", 28, 3), ImagesConfig{}, "version 3.0"},
		"in several files":   {patched("erofs", 1024+86, 1), ImagesConfig{}, "--blobdev"},
	} {
		t.Run(name, func(t *testing.T) {
			o := newOrigin(t, c.b)
			if !strings.Contains(name, "allowed") {
				c.cfg.FileSystems = isolate.FileSystemTypes
			}
			i := newImages(t, c.cfg)
			if _, err := i.Fetch(t.Context(), Want{Ref: o.URL}); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %s", err, c.want)
			}
			if names := cacheNames(t, i); len(names) > 0 {
				t.Errorf("left %v", names)
			}
		})
	}
}

// A transfer of a file system that breaks goes on where it was.
func TestResumeFileSystem(t *testing.T) {
	b := append(fsimagetest.Image(t, "squashfs"), make([]byte, 1<<20)...)
	broken := false
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"1"`)
		if !broken {
			broken = true
			w.Header().Set("Content-Length", "1052672")
			w.Header().Set("Accept-Ranges", "bytes")
			_, _ = w.Write(b[:100_000])
			panic(http.ErrAbortHandler)
		}
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(b))
	})
	i := newImages(t, ImagesConfig{FileSystems: isolate.FileSystemTypes})
	img := fetchOK(t, i, Want{Ref: s.URL})
	if !broken || img.Digest != digestOf(b) || i.Counts().Bytes != uint64(len(b)) {
		t.Errorf("got %+v, %+v", img, i.Counts())
	}
}

// A file system that is not what was sent is found, and fetched again.
func TestVerifyFileSystem(t *testing.T) {
	for name, c := range map[string]struct {
		damage func(path string) error
		want   string
	}{
		"a bit": {func(path string) error {
			f, err := os.OpenFile(path, os.O_RDWR, 0)
			if err != nil {
				return err
			}
			_, err = f.WriteAt([]byte{1}, 3000)
			return errors.Join(err, f.Close())
		}, "file-system: content"},
		"its size": {func(path string) error { return os.Truncate(path, 1024) }, "image.json: its file system"},
		"its file": {os.Remove, "image.json: its file system"},
		"a file beside it": {func(path string) error {
			return os.WriteFile(filepath.Join(filepath.Dir(path), treeName, "x"), nil, 0o600)
		}, "x: added"},
	} {
		t.Run(name, func(t *testing.T) {
			o := newOrigin(t, fsimagetest.Image(t, "squashfs"))
			i := newImages(t, ImagesConfig{FileSystems: isolate.FileSystemTypes})
			img := fetchOK(t, i, Want{Ref: o.URL})
			if changes, err := i.Verify(t.Context(), idOf(img.Digest), nil); err != nil || len(changes) > 0 {
				t.Fatalf("differs at once: %v %v", changes, err)
			}
			if err := c.damage(img.FileSystem.Path); err != nil {
				t.Fatal(err)
			}
			changes, err := i.Verify(t.Context(), idOf(img.Digest), nil)
			if err != nil || len(changes) == 0 || !strings.Contains(changes[0].String(), c.want) {
				t.Errorf("got %v, %v, want %s", changes, err, c.want)
			}
			if err := i.Heal(t.Context(), img.Digest, nil); err != nil {
				t.Error(err)
			}
			if changes, err := i.Verify(t.Context(), idOf(img.Digest), nil); err != nil || len(changes) > 0 {
				t.Errorf("after it was fetched again: %v, %v", changes, err)
			}
		})
	}
}
