//go:build integration

package integration

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gilliam/hypervisor/server/proc"
)

// A shelf serves one image, which can be exchanged, and counts how often it is
// sent.
type shelf struct {
	url   string
	mu    sync.Mutex
	image []byte
	sent  int
	gate  chan struct{} // when set, nothing is sent before it is closed
}

func newShelf(tb testing.TB, image []byte) *shelf {
	s := &shelf{image: image}
	s.url = serveHTTP(tb, func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		image, gate := s.image, s.gate
		etag := fmt.Sprintf(`"%x"`, sha256.Sum256(image))
		if r.Header.Get("If-None-Match") != etag {
			s.sent++
		}
		s.mu.Unlock()
		if gate != nil {
			<-gate
		}
		w.Header().Set("ETag", etag)
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(image))
	}) + "app.tar.gz"
	return s
}

func (s *shelf) put(image []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.image = image
}

func (s *shelf) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sent
}

func digest(image []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(image)) }

// saying is an image whose app says something.
func saying(tb testing.TB, what string) []byte {
	return pack(tb, file{name: "hello", content: what + "\n"})
}

// An image is fetched once, however many procs want it, until there is another at
// its URL; and by digest the old one is there still.
func TestImageIsFetchedOnce(t *testing.T) {
	one, two := saying(t, "one"), saying(t, "two")
	s := newShelf(t, one)
	d := serve(t)
	says := func(want, digest string) {
		t.Helper()
		p := d.run(proc.Request{Image: s.url, ImageDigest: digest, Command: proc.Exec("/bin/cat", "/app/hello")})
		if got := d.output(p.ID); p.State != proc.Done || got != want+"\n" {
			t.Errorf("got %q from %+v", got, p)
		}
	}
	for range 3 {
		says("one", "")
	}
	if n := s.count(); n != 1 {
		t.Errorf("sent %d times", n)
	}
	s.put(two)
	says("two", "")
	says("one", digest(one))
	if n := s.count(); n != 2 {
		t.Errorf("sent %d times", n)
	}
	p := d.run(proc.Request{Image: s.url, ImageDigest: digest([]byte("another")), Command: proc.Shell("true")})
	if p.State != proc.Fail || !strings.Contains(p.Reason, "its digest is "+digest(two)) {
		t.Errorf("got %+v", p)
	}
	d.want(http.StatusBadRequest, http.MethodPost, "/v1/procs", proc.Request{App: "a", Name: "b", Image: s.url, ImageDigest: "sha256:x", Command: proc.Shell("true")}, nil)
}

// Fifty procs of one image that start at the same moment are one transfer.
func TestFiftyOfOneImage(t *testing.T) {
	s := newShelf(t, saying(t, "all of us"))
	s.gate = make(chan struct{})
	open := sync.OnceFunc(func() { close(s.gate) })
	t.Cleanup(open)
	d := serve(t, "--max-procs", "50")
	procs := make([]proc.Proc, 50)
	var all sync.WaitGroup
	for n := range procs {
		all.Go(func() {
			a := d.do(http.MethodPost, "/v1/procs", proc.Request{App: "many", Name: fmt.Sprint(n), Image: s.url, Command: proc.Exec("/bin/cat", "/app/hello")})
			if a.status != http.StatusCreated {
				t.Errorf("proc %d: got %s", n, a)
				return
			}
			procs[n] = decode[proc.Proc](t, a)
		})
	}
	all.Wait()
	if t.Failed() {
		return
	}
	for _, p := range procs {
		d.until(p.ID, "boot", func(p proc.Proc) bool {
			if p.HasEnded() {
				t.Fatalf("got %+v", p)
			}
			return p.State == proc.Boot
		})
	}
	open()
	for _, p := range procs {
		if p = d.until(p.ID, "the end", proc.Proc.HasEnded); p.State != proc.Done || d.output(p.ID) != "all of us\n" {
			t.Errorf("got %q from %+v", d.output(p.ID), p)
		}
	}
	if n := s.count(); n != 1 {
		t.Errorf("sent %d times", n)
	}
}

// A proc that is started again gets what it ran before, whatever is at the URL by
// then, and whatever daemon starts it.
func TestRestartKeepsImage(t *testing.T) {
	one := saying(t, "one")
	s := newShelf(t, one)
	d := serve(t, "--restart-wait", "10ms")
	p := d.create(proc.Request{Image: s.url, Command: proc.Shell("cat hello; exec sleep 0.2"), Supervision: restart(proc.RestartAlways, 0)})
	said := func(more int) {
		t.Helper()
		had := len(d.logs(p.ID, ""))
		d.until(p.ID, "what it says", func(p proc.Proc) bool {
			got := d.logs(p.ID, "")
			for _, line := range got {
				if line != "stdout: one" {
					t.Fatalf("got %q", got)
				}
			}
			return len(got) >= had+more
		})
	}
	said(1)
	d.until(p.ID, "its image's digest", func(p proc.Proc) bool { return p.ImageDigest == digest(one) })
	s.put(saying(t, "two"))
	said(3)
	d.kill()
	d.start()
	said(3)
	if n := s.count(); n != 1 {
		t.Errorf("sent %d times", n)
	}
	d.remove(p.ID)
}
