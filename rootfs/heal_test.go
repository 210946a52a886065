package rootfs

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// spoil damages the image's file f.
func spoil(t *testing.T, img Image) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(img.Dir, "f"), []byte("spoiled"), 0o644); err != nil {
		t.Fatal(err)
	}
}

// found has the damage found out.
func found(t *testing.T, i *Images, img Image) {
	t.Helper()
	spoil(t, img)
	if changes, err := i.Verify(t.Context(), idOf(img.Digest), nil); err != nil || len(changes) == 0 {
		t.Fatalf("got %v, %v", changes, err)
	}
}

// What was set aside is fetched again with nobody asking, from where its users have
// it, or from where it came from if that is known in full.
func TestHeal(t *testing.T) {
	archive := imageOf(t, "good")
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/a.tgz", archive, 0o644); err != nil {
		t.Fatal(err)
	}
	o := newOrigin(t, archive)
	for name, c := range map[string]struct {
		ref  string
		from []string
		want string
	}{
		"a URL":                          {o.URL + "/a.tgz", nil, ""},
		"a file":                         {dir + "/a.tgz", nil, ""},
		"a URL with a query":             {o.URL + "/a.tgz?token=s3cret", nil, "its URL held"},
		"a URL with a query, of a proc":  {o.URL + "/a.tgz?token=s3cret", []string{o.URL + "/a.tgz?token=s3cret"}, ""},
		"a URL that is none, and a good": {o.URL + "/a.tgz", []string{dir + "/gone.tgz"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			i := newImages(t, ImagesConfig{AllowedDirs: []string{dir}})
			img := fetchOK(t, i, Want{Ref: c.ref})
			found(t, i, img)
			err := i.Heal(t.Context(), img.Digest, c.from)
			if c.want != "" {
				if err == nil || !strings.Contains(err.Error(), c.want) || i.Counts().Unhealed != 1 {
					t.Errorf("got %v, %+v", err, i.Counts())
				}
				return
			}
			if err != nil || contentOf(t, img) != "good" || i.Counts().Healed != 1 {
				t.Errorf("got %v, %q, %+v", err, contentOf(t, img), i.Counts())
			}
			if changes, err := i.Verify(t.Context(), idOf(img.Digest), nil); err != nil || len(changes) > 0 {
				t.Errorf("the new one: %v, %v", changes, err)
			}
		})
	}
}

// Something else than what was there takes its place in no way, and what is at the
// source now is not kept from who asks for that.
func TestHealOfAnother(t *testing.T) {
	o := newOrigin(t, imageOf(t, "good"))
	i := newImages(t, ImagesConfig{})
	img := fetchOK(t, i, Want{Ref: o.URL})
	found(t, i, img)
	o.set(func() { o.image, o.etag = imageOf(t, "other"), `"2"` })
	if err := i.Heal(t.Context(), img.Digest, nil); err == nil || !strings.Contains(err.Error(), "its digest is") {
		t.Errorf("got %v", err)
	}
	if _, err := os.Lstat(img.Dir); err == nil {
		t.Error("something is there")
	}
	if got := contentOf(t, fetchOK(t, i, Want{Ref: o.URL})); got != "other" {
		t.Errorf("got %q", got)
	}
	if names := cacheNames(t, i); len(names) != 2 {
		t.Errorf("in the cache: %v", names)
	}
}

// What could not be fetched again is tried again, by the next hypervisor too.
func TestHealLater(t *testing.T) {
	o := newOrigin(t, imageOf(t, "good"))
	i := newImages(t, ImagesConfig{})
	img := fetchOK(t, i, Want{Ref: o.URL})
	gone := true
	o.wrong = func(_ int, w http.ResponseWriter, _ *http.Request) bool {
		if gone {
			w.WriteHeader(503)
		}
		return gone
	}
	found(t, i, img)
	if err := i.Heal(t.Context(), img.Digest, nil); err == nil || i.Counts().Unhealed != 1 {
		t.Errorf("got %v, %+v", err, i.Counts())
	}
	i = newImages(t, ImagesConfig{Dir: i.cfg.Dir})
	nobody := func(string) []string { return nil }
	i.healAll(t.Context(), nobody)
	o.set(func() { gone = false })
	i.healAll(t.Context(), nobody)
	if got := contentOf(t, img); got != "good" || i.Counts().Healed != 1 || i.Counts().Unhealed != 1 {
		t.Errorf("got %q, %+v", got, i.Counts())
	}
	// One that was removed since does not come back for what was set aside.
	if err := i.Remove(idOf(img.Digest)); err != nil {
		t.Fatal(err)
	}
	o.requests()
	i.healAll(t.Context(), nobody)
	if asked := o.requests(); asked != "" || i.Counts().Unhealed != 1 {
		t.Errorf("asked %q, %+v", asked, i.Counts())
	}
}

// Many who find the same damage at once set aside what is damaged, and not what one
// of them has fetched again.
func TestHealTogether(t *testing.T) {
	o := newOrigin(t, imageOf(t, "good"))
	i := newImages(t, ImagesConfig{})
	img := fetchOK(t, i, Want{Ref: o.URL, Holder: "p"})
	spoil(t, img)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			changes, err := i.Verify(ctx, idOf(img.Digest), nil)
			if errors.Is(err, ErrNotExist) {
				return // it was looked for just between
			}
			if err == nil && len(changes) > 0 {
				err = i.Heal(ctx, img.Digest, nil)
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if n := i.Counts().Quarantined; n != 1 || contentOf(t, img) != "good" || len(cacheNames(t, i)) != 2 {
		t.Errorf("%d set aside, %v", n, cacheNames(t, i))
	}
}

// One whose record cannot be read is found damaged, and fetched again.
func TestHealRecord(t *testing.T) {
	o := newOrigin(t, imageOf(t, "good"))
	i := newImages(t, ImagesConfig{})
	img := fetchOK(t, i, Want{Ref: o.URL})
	if err := os.Truncate(filepath.Join(filepath.Dir(img.Dir), recordName), 5); err != nil {
		t.Fatal(err)
	}
	changes, err := i.Verify(t.Context(), idOf(img.Digest), nil)
	if err != nil || len(changes) != 1 || changes[0].Path != recordName {
		t.Errorf("got %v, %v", changes, err)
	}
	if err := i.Heal(t.Context(), img.Digest, nil); err != nil || contentOf(t, img) != "good" {
		t.Errorf("got %v", err)
	}
}

// Of what was set aside of one image the newest is kept, and all from which procs run.
func TestThinAside(t *testing.T) {
	a, b := newOrigin(t, imageOf(t, "a")), newOrigin(t, imageOf(t, "b"))
	i := newImages(t, ImagesConfig{})
	imgs := []Image{fetchOK(t, i, Want{Ref: a.URL}), fetchOK(t, i, Want{Ref: b.URL, Holder: "p"})}
	for range 3 {
		for _, img := range imgs {
			found(t, i, img)
			if err := i.Heal(t.Context(), img.Digest, nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	before := cacheNames(t, i)
	if err := i.thinAside(); err != nil {
		t.Fatal(err)
	}
	left := map[string]string{} // of each id, the newest
	count := map[string]int{}
	for _, name := range cacheNames(t, i) {
		if id := asideOf(name); id != "" {
			left[id] = max(left[id], name)
			count[id]++
		}
	}
	if idA, idB := idOf(imgs[0].Digest), idOf(imgs[1].Digest); count[idA] != 1 || count[idB] != 3 || !slices.Contains(before, left[idA]) ||
		slices.ContainsFunc(before, func(name string) bool { return asideOf(name) == idA && name > left[idA] }) {
		t.Errorf("left %v of %v", left, before)
	}
}
