package rootfs

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// newImages is a cache in a folder of its own, which may connect to loopback.
func newImages(t testing.TB, cfg ImagesConfig) *Images {
	t.Helper()
	if cfg.Dir == "" {
		cfg.Dir = filepath.Join(t.TempDir(), "cache")
	}
	if cfg.AllowedNets == nil {
		cfg.AllowedNets = prefixes(t, "127.0.0.0/8", "::1/128")
	}
	i, err := OpenImages(cfg)
	if err != nil {
		t.Fatal(err)
	}
	i.retry.first = time.Millisecond
	return i
}

// cacheNames is all that is in the cache but the refs and the layers of containers.
func cacheNames(t testing.TB, i *Images) []string {
	t.Helper()
	entries, err := os.ReadDir(i.cfg.Dir)
	if err != nil {
		t.Fatal(err)
	}
	names := []string{}
	for _, e := range entries {
		if e.Name() != refsName && e.Name() != layersName {
			names = append(names, e.Name())
		}
	}
	return names
}

func serve(t testing.TB, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s
}

func digestOf(b []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(b)) }

func TestFetch(t *testing.T) {
	i := newImages(t, ImagesConfig{})
	image := sampleImage(t)
	var asked atomic.Int32
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("If-None-Match") == "" {
			asked.Add(1)
		}
		if r.Header.Get("Accept-Encoding") != "" {
			t.Errorf("asked for %q", r.Header.Get("Accept-Encoding"))
		}
		w.Header().Set("Content-Encoding", "gzip") // as some servers say of a .tar.gz
		w.Header().Set("ETag", `"1"`)
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(image))
	})
	ref := s.URL + "/blog.tar.gz?token=secret"
	img, err := i.Fetch(context.Background(), Want{Ref: ref})
	if err != nil {
		t.Fatal(err)
	}
	if img.Ref != s.URL+"/blog.tar.gz" || img.Entries != 5 || img.Bytes != 22 || img.Digest != digestOf(image) {
		t.Errorf("got %+v", img)
	}
	root, err := os.OpenRoot(img.Dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	content{"run": "#!/bin/sh\necho hello\n", "bin/tool": "x", "current": "-> bin/tool"}.check(t, root)
	for p, want := range map[string]fs.FileMode{i.cfg.Dir: 0o700, filepath.Dir(img.Dir): 0o700, img.Dir: 0o755} {
		if fi, err := os.Stat(p); err != nil || fi.Mode().Perm() != want {
			t.Errorf("%s: %v, %v, want %v", p, fi.Mode(), err, want)
		}
	}
	if b, err := os.ReadFile(filepath.Join(filepath.Dir(img.Dir), recordName)); err != nil || bytes.Contains(b, []byte("secret")) {
		t.Errorf("record %s, %v", b, err)
	}

	again, err := i.Fetch(context.Background(), Want{Ref: ref})
	if err != nil || again != img {
		t.Errorf("got %+v, %v, want %+v", again, err, img)
	}
	reopened := newImages(t, ImagesConfig{Dir: i.cfg.Dir})
	if other, err := reopened.Fetch(context.Background(), Want{Ref: ref}); err != nil || other != img {
		t.Errorf("got %+v, %v, want %+v", other, err, img)
	}
	if n := asked.Load(); n != 1 {
		t.Errorf("asked %d times", n)
	}
	if got, want := i.Counts(), (ImageCounts{Hits: 1, Fetched: 1, Bytes: uint64(len(image))}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// What a server can do wrong, and what the proc's reason then is.
func TestFetchFails(t *testing.T) {
	image := sampleImage(t)
	half := image[:len(image)/2]
	plainTar := sampleTar(t)
	answer := func(b []byte) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) { w.Write(b) }
	}
	status := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(code); w.Write(image) }
	}
	redirect := func(to string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", to)
			w.WriteHeader(http.StatusFound)
		}
	}
	hijack := func(answer string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			c, buf, err := w.(http.Hijacker).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			buf.WriteString(answer)
			buf.Flush()
		}
	}
	for _, c := range []struct {
		name string
		h    http.HandlerFunc
		want string
	}{
		{"404", status(404), "/app.tar.gz: 404 Not Found: check that the URL is right"},
		{"410", status(410), "410 Gone: check that the URL is right"},
		{"401", status(401), "401 Unauthorized: the server wants a login"},
		{"403", status(403), "403 Forbidden: the server wants a login"},
		{"429", status(429), "try again later"},
		{"500", status(500), "500 Internal Server Error: the server has a problem; try again later"},
		{"204", status(204), "204 No Content"},
		{"206", status(206), "206 Partial Content"},
		{"299", status(299), "299 unknown status"},
		{"status line with tricks", hijack("HTTP/1.1 404 \x1b[31mEvil token\r\nContent-Length: 0\r\n\r\n"), "404 Not Found"},
		{"html with 200", answer([]byte("\n<!DOCTYPE html><html>")), "a web page (HTML): check that the URL"},
		{"html in capitals", answer([]byte("<HTML>")), "a web page (HTML)"},
		{"json", answer([]byte(`{"error":"x"}`)), "JSON text"},
		{"zip", answer([]byte("PK\x03\x04xxxx")), "damaged: zip"},
		{"zstd", answer([]byte("\x28\xb5\x2f\xfdxxxx")), "the zstd data"},
		{"bzip2", answer([]byte("BZh9xxxx")), "compressed with bzip2: compress it with gzip, xz or zstd"},
		{"tar and garbage", answer(append(bytes.Clone(plainTar), "garbage"...)), "data after the end of the archive"},
		{"one byte", answer([]byte{0x1f}), "not a tar or zip archive"},
		{"empty", answer(nil), "empty: the server has sent nothing"},
		{"cut", answer(half), "ends too early"},
		{"cut in the header", answer(image[:6]), "ends too early"},
		{"garbage after it", answer(append(bytes.Clone(image), "garbage garbage"...)), "data after the end"},
		{"length too large", hijack(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(image)+10, image)), "ends too early"},
		{"length too small", hijack(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(half), image)), "ends too early"},
		{"length above the limit", hijack("HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n"), "larger than 1 MiB"},
		{"endless", func(w http.ResponseWriter, r *http.Request) {
			zw := gzip.NewWriter(w)
			for n := 0; ; n++ {
				noise := fmt.Sprintf("%0512d", n*7919)
				if _, err := zw.Write([]byte(noise)); err != nil {
					return
				}
				if n == 0 {
					zw.Close()
				}
			}
		}, "not a tar or zip archive"},
		{"endless chunks", func(w http.ResponseWriter, r *http.Request) {
			member := gzipped(t, make([]byte, 512))
			w.Write(gzipped(t, plainTar))
			for {
				if _, err := w.Write(member); err != nil {
					return
				}
			}
		}, "larger than 1 MiB"},
		{"reset", func(w http.ResponseWriter, r *http.Request) { panic(http.ErrAbortHandler) }, "EOF"},
		{"header of 60 kB", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X", strings.Repeat("x", 60<<10))
			w.Write(image)
		}, "headers exceeded"},
		{"no http", hijack("220 smtp.example.com ESMTP\r\n"), "malformed HTTP"},
		{"redirect loop", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, r.URL.Path, http.StatusFound) }, "more than 10 redirects"},
		{"redirect to a file", redirect("file:///etc/passwd"), `redirected to a URL that must be an http or https URL, not "file"`},
		{"redirect to metadata", redirect("http://169.254.169.254/latest/"), "redirected to a URL that address 169.254.169.254 is link-local"},
		{"redirect with a password", redirect("http://me:pw@example.com/"), "must not hold a user name"},
		{"redirect to a number", redirect("http://2130706433/"), "host name or an address written in full"},
		{"redirect to nowhere", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusFound) }, "302"},
		{"device in it", answer(func() []byte { a := newArchive(t); a.special("null", '3'); return a.gz() }()), `entry "null": a device`},
	} {
		t.Run(c.name, func(t *testing.T) {
			i := newImages(t, ImagesConfig{Limits: UnpackLimits{Download: 1 << 20}})
			s := serve(t, c.h)
			s.Config.ErrorLog = nil
			ref := s.URL + "/app.tar.gz"
			_, err := i.Fetch(context.Background(), Want{Ref: ref + "?token=secret"})
			if err == nil {
				t.Fatal("fetched")
			}
			msg := err.Error()
			if !strings.HasPrefix(msg, "image "+ref+": ") || !strings.Contains(msg, c.want) {
				t.Errorf("got %q, want %q in it", msg, c.want)
			}
			if strings.Contains(msg, "secret") || strings.Contains(msg, "pw") || strings.ContainsRune(msg, 0x1b) {
				t.Errorf("the reason tells too much: %q", msg)
			}
			if names := cacheNames(t, i); len(names) != 0 {
				t.Errorf("left in the cache: %v", names)
			}
			if c := i.Counts(); c.Failed != 1 || c.Fetched != 0 {
				t.Errorf("counts %+v", c)
			}
		})
	}
}

// A server that sends nothing more: before its header, after it, in the middle.
func TestFetchStalls(t *testing.T) {
	image := sampleImage(t)
	for _, c := range []struct {
		name string
		sent func(w http.ResponseWriter)
		want string
	}{
		{"before the header", func(http.ResponseWriter) {}, "timeout awaiting response headers"},
		{"after the header", func(w http.ResponseWriter) { w.WriteHeader(200) }, "stalled after 0 bytes"},
		{"in the middle", func(w http.ResponseWriter) { w.Write(image[:50]) }, "stalled after 50 bytes"},
		{"before the end", func(w http.ResponseWriter) { w.Write(image) }, "stalled after"},
	} {
		t.Run(c.name, func(t *testing.T) {
			i := newImages(t, ImagesConfig{})
			i.connect(&net.Dialer{}, 50*time.Millisecond)
			i.retry.first = time.Millisecond
			gone := make(chan struct{}, 100)
			s := serve(t, func(w http.ResponseWriter, r *http.Request) {
				c.sent(w)
				if f := w.(http.Flusher); c.name != "before the header" {
					f.Flush()
				}
				<-r.Context().Done() // the client has given up
				gone <- struct{}{}
			})
			_, err := i.Fetch(context.Background(), Want{Ref: s.URL})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			<-gone
			if names := cacheNames(t, i); len(names) != 0 {
				t.Errorf("left in the cache: %v", names)
			}
		})
	}
}

func TestFetchTimeout(t *testing.T) {
	i := newImages(t, ImagesConfig{Timeout: 50 * time.Millisecond})
	s := serve(t, func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	_, err := i.Fetch(context.Background(), Want{Ref: s.URL})
	if err == nil || !strings.Contains(err.Error(), "not there after 50ms") {
		t.Errorf("got %v", err)
	}
}

func TestFetchOnceForAll(t *testing.T) {
	i := newImages(t, ImagesConfig{})
	image := sampleImage(t)
	var asked atomic.Int32
	release := make(chan struct{})
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		<-release
		w.Write(image)
	})
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			if _, err := i.Fetch(context.Background(), Want{Ref: s.URL}); err != nil {
				t.Error(err)
			}
		})
	}
	i.await(50)
	close(release)
	all.Wait()
	if n := asked.Load(); n != 1 {
		t.Errorf("asked %d times", n)
	}
	if c := i.Counts(); c.Fetched != 1 || c.Hits != 49 {
		t.Errorf("counts %+v", c)
	}
	if names := cacheNames(t, i); len(names) != 1 {
		t.Errorf("in the cache: %v", names)
	}
}

// await returns when so many callers wait for transfers.
func (i *Images) await(n int) {
	for {
		i.flights.mu.Lock()
		sum := 0
		for _, f := range i.flights.m {
			sum += f.waiters
		}
		i.flights.mu.Unlock()
		if sum == n {
			return
		}
		runtime.Gosched()
	}
}

// The one who began a transfer may go; the others still get it. When all have
// gone, it ends and leaves nothing.
func TestFetchCancel(t *testing.T) {
	i := newImages(t, ImagesConfig{})
	image := sampleImage(t)
	release := make(chan struct{})
	var gone atomic.Int32
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Write(image[:20])
		w.(http.Flusher).Flush()
		select {
		case <-release:
			w.Write(image[20:])
		case <-r.Context().Done():
			gone.Add(1)
		}
	})
	first, leave := context.WithCancel(context.Background())
	errs := make(chan error, 2)
	go func() { _, err := i.Fetch(first, Want{Ref: s.URL + "/a"}); errs <- err }()
	i.await(1)
	second := make(chan error)
	go func() { _, err := i.Fetch(context.Background(), Want{Ref: s.URL + "/a"}); second <- err }()
	i.await(2)
	leave()
	if err := <-errs; !errors.Is(err, context.Canceled) {
		t.Errorf("first: %v", err)
	}
	close(release)
	if err := <-second; err != nil {
		t.Errorf("second: %v", err)
	}

	release = make(chan struct{})
	only, end := context.WithCancelCause(context.Background())
	go func() { _, err := i.Fetch(only, Want{Ref: s.URL + "/b"}); errs <- err }()
	i.await(1)
	end(errors.New("the proc was deleted"))
	if err := <-errs; err == nil || !strings.Contains(err.Error(), "the proc was deleted") {
		t.Errorf("only: %v", err)
	}
	if names := cacheNames(t, i); len(names) != 1 {
		t.Errorf("in the cache: %v", names)
	}
	if _, err := i.Fetch(only, Want{Ref: s.URL + "/a"}); err == nil {
		t.Error("an ended context fetched")
	}
}

// A failure is told to all who wait, and the next one tries again.
func TestFetchAgainAfterFailure(t *testing.T) {
	i := newImages(t, ImagesConfig{})
	image := sampleImage(t)
	var asked atomic.Int32
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if asked.Add(1) == 1 {
			w.WriteHeader(404)
			return
		}
		w.Write(image)
	})
	if _, err := i.Fetch(context.Background(), Want{Ref: s.URL}); err == nil {
		t.Error("fetched")
	}
	if _, err := i.Fetch(context.Background(), Want{Ref: s.URL}); err != nil {
		t.Error(err)
	}
}

func TestFetchPanics(t *testing.T) {
	var g flights
	_, _, err := g.do(context.Background(), "k", "", func(context.Context) (Image, bool, error) { panic("ouch") })
	if err == nil || !strings.Contains(err.Error(), "bug: panic: ouch") {
		t.Errorf("got %v", err)
	}
	if _, _, err := g.do(context.Background(), "k", "", func(context.Context) (Image, bool, error) { return Image{}, false, nil }); err != nil {
		t.Error(err)
	}
}

func TestOpenImagesSweeps(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cache")
	for _, d := range []string{".fetch-123/tree/a/b", ".evict-123/tree/a/b", "keep/tree", "other"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	i := newImages(t, ImagesConfig{Dir: dir})
	if got := fmt.Sprint(cacheNames(t, i)); got != "[keep other]" {
		t.Errorf("got %s", got)
	}
	if _, err := OpenImages(ImagesConfig{Dir: "relative"}); !errors.Is(err, ErrInvalid) {
		t.Errorf("got %v", err)
	}
}

// An image whose record is broken is set aside and fetched again.
func TestFetchDamaged(t *testing.T) {
	i := newImages(t, ImagesConfig{})
	image := sampleImage(t)
	s := serve(t, func(w http.ResponseWriter, r *http.Request) { w.Write(image) })
	for n, damage := range []func(dir string) error{
		func(dir string) error { return os.Truncate(filepath.Join(dir, recordName), 3) },
		func(dir string) error { return os.Remove(filepath.Join(dir, recordName)) },
		func(dir string) error {
			return errors.Join(os.Remove(filepath.Join(dir, recordName)), syscall.Mkfifo(filepath.Join(dir, recordName), 0o600))
		},
		func(dir string) error { return os.RemoveAll(filepath.Join(dir, treeName)) },
	} {
		img, err := i.Fetch(context.Background(), Want{Ref: s.URL})
		if err != nil {
			t.Fatal(err)
		}
		if err := damage(filepath.Dir(img.Dir)); err != nil {
			t.Fatal(err)
		}
		if _, err := i.Fetch(context.Background(), Want{Ref: s.URL}); err != nil {
			t.Error(err)
		}
		if names := cacheNames(t, i); len(names) != n+2 {
			t.Errorf("in the cache: %v", names)
		}
	}
}

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

func TestCheckForms(t *testing.T) {
	i := newImages(t, ImagesConfig{AllowedNets: prefixes(t, "192.0.2.0/24")})
	for _, ref := range ssrf {
		if err := i.Check(ref); !errors.Is(err, ErrInvalid) {
			t.Errorf("%.80q: got %v", ref, err)
		}
		if _, err := i.Fetch(context.Background(), Want{Ref: ref}); err == nil {
			t.Errorf("%.80q: fetched", ref)
		}
	}
	if len(ssrf) < 20 {
		t.Errorf("only %d forms", len(ssrf))
	}
}
