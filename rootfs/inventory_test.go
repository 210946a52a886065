package rootfs

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"
)

// serveNumbered serves images that are told apart by their path and hold so many
// bytes each.
func serveNumbered(t testing.TB, bytes int) string {
	return serve(t, func(w http.ResponseWriter, r *http.Request) {
		a := newArchive(t)
		a.file("f", fmt.Sprintf("%*s", bytes, r.URL.Path))
		w.Header().Set("ETag", `"1"`)
		w.Write(a.gz())
	}).URL
}

// ageImages makes the images look as if they had been used in this order, long ago.
func ageImages(t *testing.T, imgs ...Image) {
	t.Helper()
	for n, img := range imgs {
		at := time.Now().Add(-time.Hour + time.Duration(n)*time.Minute)
		if err := os.Chtimes(filepath.Dir(img.Dir), at, at); err != nil {
			t.Fatal(err)
		}
	}
}

// digests are those in the cache, the last used first.
func digests(t *testing.T, i *Images) []string {
	t.Helper()
	list, err := i.List()
	if err != nil {
		t.Fatal(err)
	}
	all := []string{}
	for _, one := range list {
		all = append(all, one.Digest)
	}
	return all
}

func TestList(t *testing.T) {
	url := serveNumbered(t, 5000)
	i := newImages(t, ImagesConfig{})
	a := fetchOK(t, i, Want{Ref: url + "/a?token=secret", Holder: "p2"})
	fetchOK(t, i, Want{Ref: url + "/a?token=secret", Holder: "p1"})
	fetchOK(t, i, Want{Ref: url + "/a", Holder: "p1"})
	b := fetchOK(t, i, Want{Ref: url + "/b"})
	ageImages(t, b, a)
	list, err := i.List()
	if err != nil || len(list) != 2 {
		t.Fatalf("got %+v, %v", list, err)
	}
	got := list[0]
	if got.Digest != a.Digest || got.ID != idOf(a.Digest) || fmt.Sprint(got.Refs) != "["+url+"/a]" || fmt.Sprint(got.UsedBy) != "[p1 p2]" ||
		got.Bytes != 5000 || got.Disk != 8192+1024 || got.Entries != 1 || got.Format != "tar+gzip" || got.Sent == 0 || got.Fetched.IsZero() || got.Damaged {
		t.Errorf("got %+v", got)
	}
	if one, err := i.Find(b.Digest[:20]); err != nil || one.Digest != b.Digest {
		t.Errorf("got %+v, %v", one, err)
	}
	for s, want := range map[string]error{"": ErrInvalid, "zzzzzz": ErrInvalid, "sha256:": ErrInvalid, "../../x": ErrInvalid, "000000": ErrNotExist} {
		if _, err := i.Find(s); !errors.Is(err, want) {
			t.Errorf("%q: got %v", s, err)
		}
	}
}

func TestRemoveImage(t *testing.T) {
	url := serveNumbered(t, 10)
	i := newImages(t, ImagesConfig{})
	a := fetchOK(t, i, Want{Ref: url + "/a", Holder: "p"})
	id := idOf(a.Digest)
	if err := i.Remove(id); !errors.Is(err, ErrInUse) {
		t.Errorf("got %v", err)
	}
	i.Release("p")
	if err := i.Remove(id); err != nil {
		t.Error(err)
	}
	if err := i.Remove(id); !errors.Is(err, ErrNotExist) {
		t.Errorf("got %v", err)
	}
	if err := i.Remove("../x"); !errors.Is(err, ErrInvalid) {
		t.Errorf("got %v", err)
	}
	refs, err := os.ReadDir(i.refsDir())
	if names := cacheNames(t, i); len(names) != 0 || len(refs) != 0 || err != nil {
		t.Errorf("left %v and %v, %v", names, refs, err)
	}
	fetchOK(t, i, Want{Ref: url + "/a"})
}

// What an older hypervisor's proc runs from is not removed by the next one, once
// that was told.
func TestHold(t *testing.T) {
	i := newImages(t, ImagesConfig{})
	img := fetchOK(t, i, Want{Ref: serveNumbered(t, 10)})
	next := newImages(t, ImagesConfig{Dir: i.cfg.Dir})
	if got := next.Hold(img.Dir, "p"); got != img.Digest || next.Dir(got) != img.Dir {
		t.Errorf("got %q", got)
	}
	for _, dir := range []string{"/etc", img.Dir + "/..", filepath.Dir(img.Dir), ""} {
		if got := next.Hold(dir, "q"); got != "" {
			t.Errorf("%s: got %q", dir, got)
		}
	}
	if _, err := next.GC(0); err != nil || len(digests(t, next)) != 1 {
		t.Errorf("%v, %v", digests(t, next), err)
	}
	next.Release("p")
	if gone, err := next.GC(0); err != nil || len(gone) != 1 || gone[0].Digest != img.Digest || len(digests(t, next)) != 0 {
		t.Errorf("got %+v, %v", gone, err)
	}
}

// Beyond the size of the cache goes what was used least recently and is not in use.
func TestEviction(t *testing.T) {
	url := serveNumbered(t, 100<<10)
	i := newImages(t, ImagesConfig{CacheSize: 350 << 10})
	get := func(path, holder string) Image { return fetchOK(t, i, Want{Ref: url + path, Holder: holder}) }
	a, b, c := get("/a", "p"), get("/b", ""), get("/c", "")
	ageImages(t, a, b, c)
	get("/b", "") // only looked for, and so used
	d := get("/d", "")
	if got, want := digests(t, i), []string{d.Digest, b.Digest, a.Digest}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if i.Counts().Evicted != 1 {
		t.Errorf("counts %+v", i.Counts())
	}
	if err := i.Close(); err != nil || len(cacheNames(t, i)) != 3 {
		t.Errorf("%v, and on the disk are %v", err, cacheNames(t, i))
	}
	if again := get("/c", "p"); again.Digest != c.Digest {
		t.Errorf("got %+v", again)
	}
	// What is larger than all of the cache is there while it is in use.
	small := newImages(t, ImagesConfig{CacheSize: 1})
	img := fetchOK(t, small, Want{Ref: url + "/a", Holder: "p"})
	if got := digests(t, small); len(got) != 1 {
		t.Errorf("got %v", got)
	}
	small.Release("p")
	fetchOK(t, small, Want{Ref: url + "/b", Holder: "q"})
	if got := digests(t, small); len(got) != 1 || got[0] == img.Digest {
		t.Errorf("got %v", got)
	}
}

// Whoever has been given an image has it, however much is removed meanwhile.
func TestEvictionRaces(t *testing.T) {
	url := serveNumbered(t, 10)
	i := newImages(t, ImagesConfig{})
	ctx, stop := context.WithCancel(context.Background())
	var all sync.WaitGroup
	all.Go(func() {
		for ctx.Err() == nil {
			if _, err := i.GC(0); err != nil {
				t.Error(err)
			}
		}
	})
	var users sync.WaitGroup
	for n := range 8 {
		users.Go(func() {
			holder := fmt.Sprint(n)
			for k := range 10 {
				img, err := i.Fetch(ctx, Want{Ref: fmt.Sprint(url, "/", k%3), Holder: holder})
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := os.Stat(filepath.Join(img.Dir, "f")); err != nil {
					t.Error(err)
				}
				i.Release(holder)
			}
		})
	}
	users.Wait()
	stop()
	all.Wait()
}

// An image that is there again can be removed while files of it are on their way out
// from when it was there before.
func TestRemoveAgain(t *testing.T) {
	o := newOrigin(t, imageOf(t, "one"))
	i := newImages(t, ImagesConfig{})
	id := idOf(fetchOK(t, i, Want{Ref: o.URL}).Digest)
	before, err := i.takeAway(id)
	if err != nil {
		t.Fatal(err)
	}
	fetchOK(t, i, Want{Ref: o.URL})
	if err := i.Remove(id); err != nil {
		t.Error(err)
	}
	if err := discardFolders(before); err != nil {
		t.Error(err)
	}
	if names := cacheNames(t, i); len(names) > 0 {
		t.Errorf("left %v", names)
	}
}
