package rootfs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// An origin is a web server with one image, which it sends as servers do: with
// marks, to be asked for parts. What it does wrong is said by break.
type origin struct {
	*httptest.Server
	mu    sync.Mutex
	image []byte
	etag  string
	since time.Time
	// wrong answers in place of the server, if it returns true, the n-th request;
	// the first is 1.
	wrong func(n int, w http.ResponseWriter, r *http.Request) bool
	asked []string // what each request asked: "GET", "304?", "part"
}

func newOrigin(t testing.TB, image []byte) *origin {
	o := &origin{image: image, etag: `"1"`}
	o.Server = serve(t, o.serve)
	return o
}

func (o *origin) serve(w http.ResponseWriter, r *http.Request) {
	o.mu.Lock()
	kind := "GET"
	switch {
	case r.Header.Get("Range") != "":
		kind = "part"
	case r.Header.Get("If-None-Match") != "" || r.Header.Get("If-Modified-Since") != "":
		kind = "304?"
	}
	o.asked = append(o.asked, kind)
	n, image, wrong := len(o.asked), o.image, o.wrong
	if o.etag != "" {
		w.Header().Set("ETag", o.etag)
	}
	since := o.since
	o.mu.Unlock()
	if wrong != nil && wrong(n, w, r) {
		return
	}
	http.ServeContent(w, r, "", since, bytes.NewReader(image))
}

// set changes what there is.
func (o *origin) set(f func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	f()
}

// requests is what was asked since the last call.
func (o *origin) requests() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	s := strings.Join(o.asked, " ")
	o.asked = nil
	return s
}

// cutAt sends so much of the image and then no more.
func (o *origin) cutAt(n int, w http.ResponseWriter) {
	w.Header().Set("Accept-Ranges", "bytes")
	w.Header().Set("Content-Length", fmt.Sprint(len(o.image)))
	w.Write(o.image[:n])
	w.(http.Flusher).Flush()
	panic(http.ErrAbortHandler)
}

func imageOf(t testing.TB, content string) []byte {
	a := newArchive(t)
	a.file("f", content)
	return a.gz()
}

func fetchOK(t *testing.T, i *Images, w Want) Image {
	t.Helper()
	img, err := i.Fetch(context.Background(), w)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func contentOf(t *testing.T, img Image) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(img.Dir, "f"))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

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

// A server that recovers is waited for, as it asks; one that does not is not
// waited for long.
func TestFetchRetries(t *testing.T) {
	for _, c := range []struct {
		name  string
		fails int
		wrong func(w http.ResponseWriter)
		want  string
		asked int
	}{
		{"503 twice", 2, func(w http.ResponseWriter) { w.WriteHeader(503) }, "", 3},
		{"408 and 429", 2, func(w http.ResponseWriter) { w.Header().Set("Retry-After", "0"); w.WriteHeader(429) }, "", 3},
		{"cut before the header", 2, func(http.ResponseWriter) { panic(http.ErrAbortHandler) }, "", 3},
		{"503 for ever", 99, func(w http.ResponseWriter) { w.WriteHeader(503) }, "503 Service Unavailable: the server has a problem", 4},
		{"come back in an hour", 99, func(w http.ResponseWriter) { w.Header().Set("Retry-After", "3600"); w.WriteHeader(503) }, "503", 1},
		{"403 once", 1, func(w http.ResponseWriter) { w.WriteHeader(403) }, "403", 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := newOrigin(t, imageOf(t, "one"))
			o.Config.ErrorLog = nil
			o.wrong = func(n int, w http.ResponseWriter, _ *http.Request) bool {
				if n <= c.fails {
					c.wrong(w)
				}
				return n <= c.fails
			}
			_, err := newImages(t, ImagesConfig{}).Fetch(context.Background(), Want{Ref: o.URL})
			outcome(t, err, c.want)
			if got := len(strings.Fields(o.requests())); got != c.asked {
				t.Errorf("asked %d times, want %d", got, c.asked)
			}
		})
	}
}

func TestRetryPauses(t *testing.T) {
	r := retry{tries: 4, first: 250 * time.Millisecond}
	for n, want := range map[int][2]time.Duration{
		1: {125 * time.Millisecond, 375 * time.Millisecond}, 2: {250 * time.Millisecond, 750 * time.Millisecond}, 30: {4 * time.Second, 12 * time.Second},
	} {
		if least, most := r.pause(n, 0), r.pause(n, 1); least != want[0] || most != want[1] {
			t.Errorf("%d: %v to %v, want %v", n, least, most, want)
		}
	}
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for v, want := range map[string]time.Duration{"": 0, "7": 7 * time.Second, "-1": 0, "soon": 0, "Thu, 01 Jan 2026 00:01:00 GMT": time.Minute, "Wed, 31 Dec 2025 00:00:00 GMT": 0} {
		if got := retryAfter(http.Header{"Retry-After": {v}}, now); got != want {
			t.Errorf("%q: %v, want %v", v, got, want)
		}
	}
}

// A transfer that breaks goes on where it was when the server can promise the same
// bytes, and begins again when it cannot.
func TestFetchResumes(t *testing.T) {
	old := time.Now().Add(-time.Hour).UTC().Truncate(time.Second)
	image := sampleImage(t)
	for _, c := range []struct {
		name  string
		etag  string
		since time.Time
		wrong func(o *origin, n int, w http.ResponseWriter) bool
		asked string
		want  string
	}{
		{"etag", `"1"`, time.Time{}, func(o *origin, n int, w http.ResponseWriter) bool {
			if n == 1 {
				o.cutAt(60, w)
			}
			return false
		}, "GET part", ""},
		{"last-modified", "", old, func(o *origin, n int, w http.ResponseWriter) bool {
			if n == 1 {
				w.Header().Set("Last-Modified", old.Format(http.TimeFormat))
				o.cutAt(60, w)
			}
			return false
		}, "GET part", ""},
		{"503 in between", `"1"`, time.Time{}, func(o *origin, n int, w http.ResponseWriter) bool {
			if n == 1 {
				o.cutAt(60, w)
			}
			if n < 4 {
				w.WriteHeader(503)
			}
			return n < 4
		}, "GET part part part", ""},
		{"weak etag", `W/"1"`, time.Time{}, func(o *origin, n int, w http.ResponseWriter) bool {
			if n == 1 {
				o.cutAt(60, w)
			}
			return false
		}, "GET GET", ""},
		{"no mark", "", time.Time{}, func(o *origin, n int, w http.ResponseWriter) bool {
			if n < 3 {
				o.cutAt(60, w)
			}
			return false
		}, "GET GET GET", ""},
		{"changed meanwhile", `"1"`, time.Time{}, func(o *origin, n int, w http.ResponseWriter) bool {
			if n == 1 {
				o.cutAt(60, w)
			}
			w.Header().Set("ETag", `"2"`)
			return false
		}, "GET part GET", ""},
		{"another part", `"1"`, time.Time{}, func(o *origin, n int, w http.ResponseWriter) bool {
			if n == 1 {
				o.cutAt(60, w)
			}
			if n == 2 {
				w.Header().Set("Content-Range", fmt.Sprintf("bytes 0-%d/%d", len(o.image)-1, len(o.image)))
				w.WriteHeader(http.StatusPartialContent)
				w.Write(o.image)
			}
			return n == 2
		}, "GET part GET", ""},
		{"gone meanwhile", `"1"`, time.Time{}, func(o *origin, n int, w http.ResponseWriter) bool {
			if n == 1 {
				o.cutAt(60, w)
			}
			w.WriteHeader(404)
			return true
		}, "GET part GET", "404 Not Found"},
		{"cut for ever", "", time.Time{}, func(o *origin, n int, w http.ResponseWriter) bool { o.cutAt(60, w); return true }, "GET GET GET", "ends too early"},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := newOrigin(t, image)
			o.Config.ErrorLog = nil
			o.etag, o.since = c.etag, c.since
			o.wrong = func(n int, w http.ResponseWriter, r *http.Request) bool { return c.wrong(o, n, w) }
			i := newImages(t, ImagesConfig{})
			img, err := i.Fetch(context.Background(), Want{Ref: o.URL})
			outcome(t, err, c.want)
			if got := o.requests(); got != c.asked {
				t.Errorf("asked %q, want %q", got, c.asked)
			}
			want := 1
			if err != nil {
				want = 0
			} else if img.Digest != digestOf(image) {
				t.Errorf("got %+v", img)
			}
			if names := cacheNames(t, i); len(names) != want {
				t.Errorf("in the cache: %v", names)
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
