package rootfs

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// What was fetched is used as long as its server says that it is the same.
func TestFetchRevalidates(t *testing.T) {
	old := time.Now().Add(-time.Hour).UTC().Truncate(time.Second)
	for _, c := range []struct {
		name   string
		etag   string
		since  time.Time
		again  string // what the second fetch asks
		change func(o *origin)
	}{
		{"etag", `"1"`, time.Time{}, "304?", func(o *origin) { o.etag = `"2"` }},
		{"weak etag", `W/"1"`, time.Time{}, "304?", func(o *origin) { o.etag = `W/"2"` }},
		{"last-modified", "", old, "304?", func(o *origin) { o.since = old.Add(time.Second) }},
		{"nothing", "", time.Time{}, "GET", func(*origin) {}},
		{"too long an etag", `"` + strings.Repeat("x", 2000) + `"`, time.Time{}, "GET", func(*origin) {}},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := newOrigin(t, imageOf(t, "one"))
			o.etag, o.since = c.etag, c.since
			i := newImages(t, ImagesConfig{})
			one := fetchOK(t, i, Want{Ref: o.URL})
			again := fetchOK(t, i, Want{Ref: o.URL})
			if got := o.requests(); got != "GET "+c.again || again != one {
				t.Errorf("asked %s; got %+v and %+v", got, one, again)
			}
			o.set(func() { o.image = imageOf(t, "two"); c.change(o) })
			two := fetchOK(t, i, Want{Ref: o.URL})
			if contentOf(t, one) != "one" || contentOf(t, two) != "two" {
				t.Errorf("got %q and %q", contentOf(t, one), contentOf(t, two))
			}
			if names := cacheNames(t, i); len(names) != 2 {
				t.Errorf("in the cache: %v", names)
			}
			o.requests()
			if pinned := fetchOK(t, i, Want{Ref: o.URL, Digest: one.Digest}); pinned != one || o.requests() != "" {
				t.Errorf("by digest: %+v", pinned)
			}
		})
	}
}

// A server that cannot be reached, or has a problem, does not keep an app from
// starting that was fetched before. One that says no does.
func TestFetchStale(t *testing.T) {
	status := func(code int) func(int, http.ResponseWriter, *http.Request) bool {
		return func(_ int, w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(code); return true }
	}
	for _, c := range []struct {
		name  string
		wrong func(n int, w http.ResponseWriter, r *http.Request) bool
		want  string // empty: what is in the cache
	}{
		{"503", status(503), ""},
		{"429", status(429), ""},
		{"gone away", func(int, http.ResponseWriter, *http.Request) bool { panic(http.ErrAbortHandler) }, ""},
		{"404", status(404), "404 Not Found"},
		{"403", status(403), "403 Forbidden"},
		{"another thing", func(_ int, w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Del("ETag")
			w.Write([]byte("<html>"))
			return true
		}, "a web page"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var log bytes.Buffer
			o := newOrigin(t, imageOf(t, "one"))
			o.Config.ErrorLog = nil
			i := newImages(t, ImagesConfig{Log: slog.New(slog.NewTextHandler(&log, nil))})
			one := fetchOK(t, i, Want{Ref: o.URL + "/?secret"})
			o.set(func() { o.wrong = c.wrong })
			again, err := i.Fetch(context.Background(), Want{Ref: o.URL + "/?secret"})
			if c.want != "" {
				if err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("got %v", err)
				}
				return
			}
			if err != nil || again != one {
				t.Errorf("got %+v, %v", again, err)
			}
			if got := o.requests(); got != "GET 304?" {
				t.Errorf("asked %s", got)
			}
			if !strings.Contains(log.String(), "without asking its server") || strings.Contains(log.String(), "secret") {
				t.Errorf("log: %s", log.String())
			}
			if i.Counts().Stale != 1 {
				t.Errorf("counts %+v", i.Counts())
			}
		})
	}
}

// A digest is what the image must have, wherever it comes from.
func TestFetchDigest(t *testing.T) {
	one, two := imageOf(t, "one"), imageOf(t, "two")
	o := newOrigin(t, one)
	i := newImages(t, ImagesConfig{})
	_, err := i.Fetch(context.Background(), Want{Ref: o.URL, Digest: digestOf(two)})
	outcome(t, err, "its digest is "+digestOf(one)+", and was to be "+digestOf(two))
	if names := cacheNames(t, i); len(names) != 0 {
		t.Errorf("in the cache: %v", names)
	}
	for _, d := range []string{"x", "sha256:", digestOf(one)[7:], strings.ToUpper(digestOf(one)), "md5:" + digestOf(one)[7:]} {
		if _, err := i.Fetch(context.Background(), Want{Ref: o.URL, Digest: d}); !errors.Is(err, ErrInvalid) {
			t.Errorf("%q: %v", d, err)
		}
	}
	img := fetchOK(t, i, Want{Ref: o.URL, Digest: digestOf(one)})
	o.Close()
	if again := fetchOK(t, i, Want{Ref: o.URL, Digest: digestOf(one)}); again != img {
		t.Errorf("got %+v, want %+v", again, img)
	}
	// The same content, at another place: there is no need to go there.
	if other := fetchOK(t, i, Want{Ref: "http://127.0.0.1:1/x", Digest: digestOf(one)}); other.Dir != img.Dir {
		t.Errorf("got %+v", other)
	}
}

// One content is kept once, wherever it came from; and one who asks together with
// another for a digest does not suffer from the other's URL.
func TestFetchSameContent(t *testing.T) {
	image := imageOf(t, "one")
	o := newOrigin(t, image)
	i := newImages(t, ImagesConfig{})
	a, b := fetchOK(t, i, Want{Ref: o.URL + "/a"}), fetchOK(t, i, Want{Ref: o.URL + "/b"})
	if a.Dir != b.Dir || a.Ref == b.Ref {
		t.Errorf("got %+v and %+v", a, b)
	}
	if names := cacheNames(t, i); len(names) != 1 {
		t.Errorf("in the cache: %v", names)
	}

	asked, release := make(chan struct{}), make(chan struct{})
	bad := serve(t, func(w http.ResponseWriter, r *http.Request) {
		close(asked)
		<-release
		w.WriteHeader(404)
	})
	i = newImages(t, ImagesConfig{})
	first := make(chan error)
	go func() {
		_, err := i.Fetch(context.Background(), Want{Ref: bad.URL, Digest: digestOf(image)})
		first <- err
	}()
	<-asked
	second := make(chan error)
	go func() {
		_, err := i.Fetch(context.Background(), Want{Ref: o.URL, Digest: digestOf(image)})
		second <- err
	}()
	i.await(2)
	close(release)
	outcome(t, <-first, "404")
	outcome(t, <-second, "")
}

// What an older hypervisor has kept by the hash of its URL goes on being of use.
func TestTakeOver(t *testing.T) {
	o := newOrigin(t, imageOf(t, "new"))
	dir := filepath.Join(t.TempDir(), "cache")
	tree := filepath.Join(dir, hashOf(o.URL), treeName)
	if err := errors.Join(os.MkdirAll(tree, 0o755), os.WriteFile(filepath.Join(tree, "f"), []byte("old"), 0o644),
		os.WriteFile(filepath.Join(filepath.Dir(tree), recordName), []byte(`{"ref":"`+o.URL+`","bytes":3,"entries":1,"fetched":"2026-01-01T00:00:00Z"}`), 0o600)); err != nil {
		t.Fatal(err)
	}
	for range 2 { // it is done once
		i := newImages(t, ImagesConfig{Dir: dir})
		o.set(func() { o.wrong = func(int, http.ResponseWriter, *http.Request) bool { panic(http.ErrAbortHandler) } })
		o.Config.ErrorLog = nil
		if img := fetchOK(t, i, Want{Ref: o.URL}); contentOf(t, img) != "old" || img.Digest != "" || img.Dir != tree {
			t.Errorf("got %+v", img)
		}
	}
	i := newImages(t, ImagesConfig{Dir: dir})
	o.set(func() { o.wrong = nil })
	if img := fetchOK(t, i, Want{Ref: o.URL}); contentOf(t, img) != "new" {
		t.Errorf("got %+v", img)
	}
}
