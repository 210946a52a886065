package rootfs

import (
	"bytes"
	"context"
	"fmt"
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
