//go:build integration

package integration

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/gilliam/hypervisor/integration/registry"
	"github.com/gilliam/hypervisor/server"
	"github.com/gilliam/hypervisor/server/proc"
)

// What a proc uses is removed by nobody, also when the daemon was started again;
// the rest goes when there is no more room.
func TestImageCacheKeepsWhatIsUsed(t *testing.T) {
	s := newShelf(t, saying(t, "one"))
	d := serve(t, "--stop-on-exit=false", "--image-cache-size", "1K")
	p := d.create(proc.Request{App: "a", Name: "b", Image: s.url, Command: proc.Shell("echo up; exec sleep 1000")})
	d.follow(p.ID).until("stdout: up")
	run := func(what string) {
		t.Helper()
		s.put(saying(t, what))
		p := d.run(proc.Request{Image: s.url, Command: proc.Exec("/bin/cat", "/app/hello")})
		if got := d.output(p.ID); got != what+"\n" {
			t.Errorf("got %q from %+v", got, p)
		}
	}
	images := func() (used, free int) {
		t.Helper()
		var list server.ImageList
		d.want(http.StatusOK, http.MethodGet, "/v1/images", nil, &list)
		for _, img := range list.Images {
			if len(img.UsedBy) > 0 {
				used++
				if img.UsedBy[0] != p.ID {
					t.Errorf("got %+v", img)
				}
			} else {
				free++
			}
		}
		return used, free
	}
	run("two")
	run("three")
	if used, free := images(); used != 1 || free != 1 {
		t.Errorf("%d in use, %d not", used, free)
	}
	d.kill()
	d.start()
	run("four")
	if r := d.cli(t, "image", "gc"); r.code != 0 || !strings.Contains(r.stdout, "1 images removed") {
		t.Errorf("gc: %s", r)
	}
	if used, free := images(); used != 1 || free != 0 {
		t.Errorf("%d in use, %d not", used, free)
	}
	one := digest(saying(t, "one"))
	if r := d.cli(t, "image", "rm", one); r.code != 1 || !strings.Contains(r.stderr, "in use") {
		t.Errorf("rm: %s", r)
	}
	if got := d.want(http.StatusOK, http.MethodGet, "/metrics", nil, nil).body; !strings.Contains(got, "gilliam_images{in_use=\"true\"} 1\n") || !strings.Contains(got, "gilliam_image_evictions_total 2\n") {
		t.Errorf("metrics: %s", got)
	}
	d.remove(p.ID)
	if r := d.cli(t, "image", "rm", one); r.code != 0 {
		t.Errorf("rm: %s", r)
	}
}

// An image that was changed on the disk is found out, set aside under the proc that
// runs from it, and fetched again at once by the URL of that proc, which the cache
// does not know. The proc goes on, and its restart has the good one. With its server
// gone, the answer says so.
func TestImageVerify(t *testing.T) {
	image := saying(t, "one")
	s := newShelf(t, image)
	d := serve(t, "--restart-wait", "10ms")
	p := d.create(proc.Request{App: "a", Name: "b", Image: s.url + "?token=s3cret", Command: proc.Shell("cat hello; exec sleep 1000"),
		Supervision: proc.Supervision{Restart: &proc.Restart{Policy: proc.RestartAlways}}})
	lines := d.follow(p.ID)
	lines.until("stdout: one")
	if r := d.cli(t, "image", "verify"); r.code != 0 || !strings.Contains(r.stdout, "as it was unpacked") {
		t.Errorf("verify: %s", r)
	}
	p = d.until(p.ID, "running", func(p proc.Proc) bool { return p.State == proc.Running })
	hello := filepath.Join(d.stateDir, "cache", strings.TrimPrefix(digest(image), "sha256:"), "tree", "hello")
	spoil := func() { must(t, os.WriteFile(hello, []byte("two\n"), 0o644)) }
	spoil()
	if r := d.cli(t, "image", "verify"); r.code != 1 || !strings.Contains(r.stdout, "hello: sha256 is") || !strings.Contains(r.stderr, "has been fetched again") {
		t.Errorf("verify: %s", r)
	}
	if b, err := os.ReadFile(hello); string(b) != "one\n" || err != nil || s.count() != 2 {
		t.Errorf("got %q, %v, sent %d times", b, err, s.count())
	}
	if now := d.get(p.ID); now.State != proc.Running || now.PID != p.PID {
		t.Errorf("the proc is %+v", now)
	}
	if r := d.cli(t, "inspect", "--verify", p.ID); r.code != 0 {
		t.Errorf("inspect --verify: %s", r)
	}
	must(t, syscall.Kill(p.PID, syscall.SIGKILL))
	lines.until("stdout: one")

	s.put(saying(t, "another"))
	spoil()
	var v proc.ImageVerdict
	d.want(http.StatusOK, http.MethodPost, "/v1/images/"+digest(image)+"/verify", nil, &v)
	if v.FetchedAgain || !strings.Contains(v.NotFetched, "its digest is") || len(v.Differences) != 1 {
		t.Errorf("got %+v", v)
	}
	if got := d.want(http.StatusOK, http.MethodGet, "/metrics", nil, nil).body; !strings.Contains(got, "gilliam_image_heals_total{outcome=\"failed\"} 1\n") {
		t.Errorf("metrics: %s", got)
	}
	if strings.Contains(d.log(), "s3cret") || strings.Contains(v.NotFetched, "s3cret") {
		t.Error("the URL's secret is told")
	}
}

// The same of a layer of a container image.
func TestContainerVerify(t *testing.T) {
	r := registry.New(t)
	image := layered(t, v1.Config{Cmd: []string{"/usr/bin/sh", "-c", "cat /which; exec sleep 1000"}})
	image.Layers = append(image.Layers, registry.Tar(t, registry.Named("which", "one\n")))
	r.Push("a:1", image)
	d := serve(t, "--restart-wait", "10ms")
	p := d.create(proc.Request{App: "a", Name: "b", Image: r.Ref("a:1"), Supervision: proc.Supervision{Restart: &proc.Restart{Policy: proc.RestartAlways}}})
	lines := d.follow(p.ID)
	lines.until("stdout: one")
	p = d.until(p.ID, "running", func(p proc.Proc) bool { return p.State == proc.Running })
	which, err := filepath.Glob(filepath.Join(d.stateDir, "cache/layers/*/tree/which"))
	if err != nil || len(which) != 1 {
		t.Fatalf("got %v, %v", which, err)
	}
	must(t, os.WriteFile(which[0], []byte("two\n"), 0o644))
	if r := d.cli(t, "image", "verify"); r.code != 1 || !strings.Contains(r.stdout, "/which: sha256 is") || !strings.Contains(r.stderr, "has been fetched again") {
		t.Errorf("verify: %s", r)
	}
	if b, err := os.ReadFile(which[0]); string(b) != "one\n" || err != nil {
		t.Errorf("got %q, %v", b, err)
	}
	if now := d.get(p.ID); now.State != proc.Running || now.PID != p.PID {
		t.Errorf("the proc is %+v", now)
	}
	must(t, syscall.Kill(p.PID, syscall.SIGKILL))
	lines.until("stdout: one")
}

// Whatever a server does, the proc says so in time, the daemon holds on to nothing,
// and what the URL may hold of secrets is told to nobody.
func TestTransfers(t *testing.T) {
	good := saying(t, "hello")
	hijack := func(answer string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			c, buf, err := w.(http.Hijacker).Hijack()
			if err != nil {
				return
			}
			defer c.Close()
			buf.WriteString(answer)
			buf.Flush()
		}
	}
	send := func(b []byte) http.HandlerFunc { return func(w http.ResponseWriter, _ *http.Request) { w.Write(b) } }
	cases := []struct {
		name string
		h    http.HandlerFunc
		want string
	}{
		{"404", http.NotFound, "404 Not Found"},
		{"500", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }, "the server has a problem"},
		{"html", send([]byte("<!doctype html>")), "a web page (HTML)"},
		{"empty", send(nil), "empty"},
		{"truncated", send(good[:len(good)/2]), "cut off"},
		{"garbage after it", send(append(append([]byte{}, good...), "garbage"...)), "ends too early"},
		{"length too large", hijack(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(good)+9, good)), "cut off"},
		{"length too small", hijack(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(good)/2, good)), "cut off"},
		{"length beyond the limit", hijack("HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n"), "larger than 256 MiB"},
		{"reset", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "EOF"},
		{"redirect loop", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, r.URL.String(), http.StatusFound) }, "more than 10 redirects"},
		{"redirect to a file", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "file:///etc/passwd")
			w.WriteHeader(http.StatusFound)
		}, "must be an http or https URL"},
		{"huge header", func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X", strings.Repeat("x", 60<<10)) }, "headers exceeded"},
		{"a gzip that says that it is one", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			w.Write(good)
		}, ""},
	}
	var at atomic.Int32
	url := serveHTTP(t, func(w http.ResponseWriter, r *http.Request) { cases[at.Load()].h(w, r) })
	d := serve(t)
	m := newMailbox(t)
	var before []string
	for n, c := range cases {
		at.Store(int32(n))
		p := d.run(proc.Request{App: "a", Name: fmt.Sprint("n", n), Image: url + "app.tar.gz?token=s3cret", Command: proc.Shell("grep -c 's3c[r]et' /proc/self/mountinfo /proc/*/cmdline /proc/*/environ 2>/dev/null | grep -v ':0$'"), Callback: m.url()})
		if !strings.Contains(p.Reason, c.want) || p.Started != nil && c.want != "" {
			t.Errorf("%s: got %+v, want %q", c.name, p, c.want)
		}
		if strings.Contains(fmt.Sprintf("%+v", p), "s3cret") {
			t.Errorf("%s: the API tells what the query holds: %+v", c.name, p)
		}
		if c.want == "" && d.output(p.ID) != "" {
			t.Errorf("the app sees what the query holds: %q", d.output(p.ID))
		}
		if n == 0 {
			d.http.CloseIdleConnections()
			before = d.descriptors()
		}
	}
	d.holdsNoMore(t, before, 1)
	d.allTold()
	for _, told := range m.taken() {
		if strings.Contains(fmt.Sprintf("%+v", told), "s3cret") {
			t.Errorf("a callback tells what the query holds: %+v", told)
		}
	}
	if strings.Contains(d.log(), "s3cret") {
		t.Error("the log tells what the query holds")
	}
	err := filepath.WalkDir(filepath.Join(d.stateDir, "cache"), func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if strings.Contains(string(b), "s3cret") {
			t.Errorf("%s tells what the query holds", path)
		}
		return err
	})
	must(t, err)
}
