package archive_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gilliam/hypervisor/rootfs/debian/archive"
)

// A mirror serves one file as answer says, and counts.
type mirror struct {
	content []byte
	asked   []string // the Range of each request
}

func (m *mirror) serve(t *testing.T, answer func(n int, w http.ResponseWriter, r *http.Request)) archive.File {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		m.asked = append(m.asked, r.Header.Get("Range"))
		answer(len(m.asked), w, r)
	}))
	t.Cleanup(s.Close)
	return archive.File{URL: s.URL + "/x.deb", Size: int64(len(m.content)), SHA256: fmt.Sprintf("%x", sha256.Sum256(m.content))}
}

func (m *mirror) whole(w http.ResponseWriter, r *http.Request) {
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(m.content))
}

// cut sends n bytes of what was asked for, and hangs up.
func (m *mirror) cut(w http.ResponseWriter, n int) {
	w.Header().Set("Content-Length", fmt.Sprint(len(m.content)))
	_, _ = w.Write(m.content[:n])
	panic(http.ErrAbortHandler)
}

func newMirror() *mirror { return &mirror{content: bytes.Repeat([]byte("0123456789abcdef"), 64<<10)} }

func fetch(t *testing.T, c *archive.Client, f archive.File, m *mirror) error {
	t.Helper()
	var total atomic.Int64
	file, err := c.Fetch(t.Context(), f, func(n int64) { total.Add(n) })
	if err != nil {
		if total.Load() != 0 {
			t.Errorf("%d bytes are counted of what did not come", total.Load())
		}
		return err
	}
	defer file.Close()
	b, err := io.ReadAll(file)
	if err != nil || !bytes.Equal(b, m.content) || total.Load() != f.Size {
		t.Errorf("got %d bytes, counted %d: %v", len(b), total.Load(), err)
	}
	return nil
}

// A transfer that breaks goes on where it has ended, also with the next client.
func TestFetchResumes(t *testing.T) {
	m := newMirror()
	f := m.serve(t, func(n int, w http.ResponseWriter, r *http.Request) {
		switch n {
		case 1, 2, 3, 4:
			m.cut(w, 200<<10) // and to the second request not what was asked for
		default:
			m.whole(w, r)
		}
	})
	dir := t.TempDir()
	c, err := archive.NewClient(dir, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	archive.WithoutPauses(c)
	if err := fetch(t, c, f, m); err == nil || !strings.Contains(err.Error(), "of 1048576 bytes") {
		t.Errorf("broken four times: %v", err)
	}
	if err := fetch(t, c, f, m); err != nil {
		t.Error(err)
	}
	if m.asked[0] != "" || m.asked[4] != "bytes=204800-" || len(m.asked) != 5 {
		t.Errorf("asked for %q", m.asked)
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 1 || left[0].Name() != f.SHA256 {
		t.Errorf("the cache holds %v %v", left, err)
	}
}

func TestFetch(t *testing.T) {
	for name, c := range map[string]struct {
		answer func(m *mirror, n int, w http.ResponseWriter, r *http.Request)
		asks   int
		fault  string // "": none
	}{
		"as it is": {func(m *mirror, n int, w http.ResponseWriter, r *http.Request) { m.whole(w, r) }, 1, ""},
		"another file": {func(m *mirror, n int, w http.ResponseWriter, r *http.Request) {
			_, _ = w.Write(bytes.Repeat([]byte("x"), len(m.content)))
		}, 1, "what came has hash"},
		"too long": {func(m *mirror, n int, w http.ResponseWriter, r *http.Request) {
			_, _ = w.Write(append(bytes.Clone(m.content), "more"...))
		}, 1, "what came has hash"},
		"too short": {func(m *mirror, n int, w http.ResponseWriter, r *http.Request) { _, _ = w.Write(nil) }, 4, "ended after 0 of"},
		"a part that was not asked for": {func(m *mirror, n int, w http.ResponseWriter, r *http.Request) {
			if n == 1 {
				m.cut(w, 300<<10)
			}
			w.Header().Set("Content-Range", "bytes 5-1048575/1048576")
			w.WriteHeader(http.StatusPartialContent)
		}, 4, "another part"},
		"no ranges": {func(m *mirror, n int, w http.ResponseWriter, r *http.Request) {
			if n == 1 {
				m.cut(w, 300<<10)
			}
			_, _ = w.Write(m.content)
		}, 2, ""},
		"not satisfiable": {func(m *mirror, n int, w http.ResponseWriter, r *http.Request) {
			if n == 1 {
				m.cut(w, 300<<10)
			}
			if r.Header.Get("Range") != "" {
				w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
				return
			}
			m.whole(w, r)
		}, 2, "416"},
		"elsewhere": {func(m *mirror, n int, w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/x.deb" {
				http.Redirect(w, r, "/y", http.StatusFound)
				return
			}
			m.whole(w, r)
		}, 2, ""},
		"forbidden": {func(m *mirror, n int, w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusForbidden) }, 1, "403 Forbidden"},
	} {
		m := newMirror()
		f := m.serve(t, func(n int, w http.ResponseWriter, r *http.Request) { c.answer(m, n, w, r) })
		err := fetch(t, client(t), f, m)
		if len(m.asked) != c.asks || (err == nil) != (c.fault == "") || err != nil && !strings.Contains(err.Error(), c.fault) {
			t.Errorf("%s: asked %d times %q: %v", name, len(m.asked), m.asked, err)
		}
	}
}

// What has become wrong in the cache is fetched again, in parts or in whole.
func TestFetchHealsCache(t *testing.T) {
	m := newMirror()
	f := m.serve(t, func(n int, w http.ResponseWriter, r *http.Request) { m.whole(w, r) })
	dir := t.TempDir()
	c, err := archive.NewClient(dir, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	archive.WithoutPauses(c)
	for name, content := range map[string]string{
		f.SHA256: "wrong", f.SHA256 + ".part": "wrong from the beginning",
	} {
		if err := os.RemoveAll(filepath.Join(dir, f.SHA256)); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := fetch(t, c, f, m); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	before := len(m.asked)
	if err := fetch(t, c, f, m); err != nil || len(m.asked) != before {
		t.Errorf("asked again for what is there: %v", err)
	}
	if err := c.Prune(time.Now().Add(29 * 24 * time.Hour)); err != nil {
		t.Error(err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 1 {
		t.Errorf("pruned too early: %v", left)
	}
	if err := c.Prune(time.Now().Add(31 * 24 * time.Hour)); err != nil {
		t.Error(err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("not pruned: %v", left)
	}
}

// Passwords of a mirror's are sent to it and shown to nobody.
func TestLogin(t *testing.T) {
	m := newMirror()
	var got []string
	f := m.serve(t, func(n int, w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		got = append(got, user+":"+password)
		w.WriteHeader(http.StatusUnauthorized)
	})
	plain := strings.TrimPrefix(f.URL, "http://")
	host, _, _ := strings.Cut(plain, "/")
	c, err := archive.NewClient(t.TempDir(), nil, archive.ParseLogins("# x\nmachine http://"+host+" login me password secret\n"))
	if err != nil {
		t.Fatal(err)
	}
	_, err1 := c.Fetch(t.Context(), f, nil)
	f.URL = "http://you:hidden@" + plain
	_, err2 := c.Fetch(t.Context(), f, nil)
	if len(got) != 2 || got[0] != "me:secret" || got[1] != "you:hidden" {
		t.Errorf("sent %q", got)
	}
	for _, err := range []error{err1, err2} {
		if err == nil || strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "hidden") {
			t.Errorf("said: %v", err)
		}
	}
}
