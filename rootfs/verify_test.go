package rootfs

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// What has changed on the disk is found, taken out of use and fetched again.
func TestVerify(t *testing.T) {
	for _, c := range []struct {
		name   string
		damage func(dir string) error // the folder of the image
		want   string
	}{
		{"a byte", func(dir string) error { return os.WriteFile(dir+"/tree/run", []byte("#!/bin/sh\necho hellO\n"), 0) }, "run: sha256 is"},
		{"a mode", func(dir string) error { return os.Chmod(dir+"/tree/run", 0o600) }, "run: mode is"},
		{"a link", func(dir string) error {
			return errors.Join(os.Remove(dir+"/tree/current"), os.Symlink("/etc", dir+"/tree/current"))
		}, "current: link is"},
		{"one more", func(dir string) error { return os.Mkdir(dir+"/tree/new", 0o755) }, "new: added"},
		{"one less", func(dir string) error { return os.Remove(dir + "/tree/run") }, "run: missing"},
		{"the list", func(dir string) error { return os.Truncate(dir+"/manifest", 30) }, "manifest: is not the list"},
		{"no list", func(dir string) error { return os.Remove(dir + "/manifest") }, "manifest: is not the list"},
		{"nothing", func(string) error { return nil }, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := newOrigin(t, sampleImage(t))
			i := newImages(t, ImagesConfig{})
			img := fetchOK(t, i, Want{Ref: o.URL, Holder: "p"})
			if err := c.damage(filepath.Dir(img.Dir)); err != nil {
				t.Fatal(err)
			}
			var read atomic.Int64
			changes, err := i.Verify(context.Background(), idOf(img.Digest), func(n int) { read.Add(int64(n)) })
			if err != nil {
				t.Fatal(err)
			}
			if c.want == "" {
				if len(changes) != 0 || read.Load() != 22 {
					t.Errorf("got %v, %d bytes read", changes, read.Load())
				}
				return
			}
			if len(changes) == 0 || !strings.Contains(changes[0].String(), c.want) {
				t.Errorf("got %v, want %q", changes, c.want)
			}
			if n := i.Counts().Quarantined; n != 1 {
				t.Errorf("%d were set aside", n)
			}
			o.requests()
			again := fetchOK(t, i, Want{Ref: o.URL, Digest: img.Digest, Holder: "p"})
			if again != img || o.requests() != "GET" {
				t.Errorf("got %+v", again)
			}
			if changes, err := i.Verify(context.Background(), idOf(img.Digest), nil); err != nil || len(changes) != 0 {
				t.Errorf("the new one: %v, %v", changes, err)
			}
			// It is kept as long as a proc may run from it.
			if n, err := i.ClearAside(); n != 0 || err != nil {
				t.Errorf("%d removed, %v", n, err)
			}
			i.Release("p")
			if n, err := i.ClearAside(); n != 1 || err != nil || len(cacheNames(t, i)) != 1 {
				t.Errorf("%d removed, %v; left %v", n, err, cacheNames(t, i))
			}
		})
	}
	i := newImages(t, ImagesConfig{})
	if _, err := i.Verify(context.Background(), "../x", nil); !errors.Is(err, ErrInvalid) {
		t.Errorf("got %v", err)
	}
	if _, err := i.Verify(context.Background(), strings.Repeat("0", 64), nil); !errors.Is(err, ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

// The scrub finds what has changed without being asked, fetches it again, and takes
// its time.
func TestScrub(t *testing.T) {
	o := newOrigin(t, sampleImage(t))
	r, w := io.Pipe()
	i := newImages(t, ImagesConfig{Log: slog.New(slog.NewTextHandler(w, nil))})
	verified := make(chan struct{})
	once := sync.OnceFunc(func() { close(verified) })
	// Owned by the test: ends when w is closed.
	go func() {
		for lines := bufio.NewScanner(r); lines.Scan(); {
			if strings.Contains(lines.Text(), "images verified") {
				once()
			}
		}
	}()
	defer w.Close()
	img := fetchOK(t, i, Want{Ref: o.URL})
	if err := os.Chmod(img.Dir+"/run", 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	over := make(chan struct{})
	go func() {
		i.Scrub(ctx, 1<<20, 24*time.Millisecond, func(string) []string { return nil })
		close(over)
	}()
	<-verified
	stop()
	<-over
	if names := cacheNames(t, i); len(names) != 2 || !strings.HasPrefix(names[0], damagedPrefix) || names[1] != idOf(img.Digest) {
		t.Errorf("in the cache: %v", names)
	}
	if fi, err := os.Stat(img.Dir + "/run"); err != nil || fi.Mode().Perm() == 0o600 {
		t.Errorf("got %v, %v", fi, err)
	}
	p := pacer{ctx: context.Background(), rate: 1 << 20}
	start := time.Now()
	for range 4 {
		p.read(16 << 10)
	}
	if took := time.Since(start); took < 60*time.Millisecond {
		t.Errorf("64 KiB at 1 MiB/s took %v", took)
	}
}
