//go:build integration

package integration

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gilliam/hypervisor/server/proc"
	"github.com/gilliam/hypervisor/server/proc/lease"
)

// Whatever is wrong with an image or a template ends its proc with a reason
// that says what to do. Nothing is left of it, and the next proc runs.
func TestProvisioningFails(t *testing.T) {
	good := pack(t, file{name: "hello", content: strings.Repeat("hello\n", 10000)})
	images := serveImages(t, map[string][]byte{
		"good.tar.gz":   good,
		"text.tar.gz":   []byte("this is no archive"),
		"page.tar.gz":   []byte("<!DOCTYPE html><html><body>Please log in</body></html>"),
		"empty.tar.gz":  {},
		"cut.tar.gz":    good[:len(good)/2],
		"outside":       pack(t, file{name: "ok", content: "ok"}, file{name: "../evil", content: "evil"}),
		"absolute":      pack(t, file{name: "/etc/evil", content: "evil"}),
		"inside.tar.gz": pack(t, file{name: "a/../../evil", content: "evil"}),
		"zip.tar.gz":    []byte("PK\x03\x04" + strings.Repeat("x", 600)),
	})
	status := serveHTTP(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/login":
			w.WriteHeader(http.StatusForbidden)
		case "/broken":
			w.WriteHeader(http.StatusBadGateway)
		case "/metadata":
			http.Redirect(w, r, "http://169.254.169.254/latest/meta-data", http.StatusFound)
		case "/short":
			w.Header().Set("Content-Length", "100000")
			w.Write(good[:200])
		}
	})
	d := serve(t)
	for name, c := range map[string]struct {
		image, template string
		reason          []string
	}{
		"404":                   {image: images + "none.tar.gz", reason: []string{"404", "check that the URL is right"}},
		"403":                   {image: status + "login", reason: []string{"403", "have the operator add one"}},
		"502":                   {image: status + "broken", reason: []string{"502", "try again later"}},
		"text":                  {image: images + "text.tar.gz", reason: []string{"not a tar or zip archive", "tar -czf"}},
		"a web page":            {image: images + "page.tar.gz", reason: []string{"a web page (HTML)", "asks for a login"}},
		"a broken zip":          {image: images + "zip.tar.gz", reason: []string{"damaged: zip"}},
		"empty":                 {image: images + "empty.tar.gz", reason: []string{"empty", "check that the URL is right"}},
		"half an archive":       {image: images + "cut.tar.gz", reason: []string{"cut off"}},
		"half a transfer":       {image: status + "short", reason: []string{"cut off"}},
		"../":                   {image: images + "outside", reason: []string{`"../evil"`, "leads out of the archive"}},
		"/etc":                  {image: images + "absolute", reason: []string{`"/etc/evil"`, "relative names"}},
		"a/../../":              {image: images + "inside.tar.gz", reason: []string{"leads out of the archive"}},
		"no server":             {image: "http://127.0.0.1:1/app.tar.gz", reason: []string{"connection refused"}},
		"a redirect to no good": {image: status + "metadata", reason: []string{"redirected", "link-local"}},
		"no such template":      {template: "none", reason: []string{`"none"`, "template"}},
	} {
		t.Run(name, func(t *testing.T) {
			c2 := d.in(t)
			p := c2.run(proc.Request{Image: c.image, Template: c.template, Command: proc.Shell("true")})
			if p.State != proc.Fail || p.ExitCode != nil || p.Started != nil {
				t.Errorf("got %+v", p)
			}
			for _, part := range c.reason {
				if !strings.Contains(p.Reason, part) {
					t.Errorf("no %q in the reason %q", part, p.Reason)
				}
			}
			d.noFolders()
			c2.remove(p.ID)
			d.nothingLeftOf(t, p)
		})
	}
	if p := d.run(proc.Request{Image: images + "good.tar.gz", Command: proc.Shell("grep -c hello hello")}); d.output(p.ID) != "10000\n" {
		t.Errorf("the good one: got %q from %+v", d.output(p.ID), p)
	}
}

// Without a free port a proc fails, and the port of one that has ended is the
// next one's.
func TestOutOfPorts(t *testing.T) {
	d := serve(t, "--max-procs", "1")
	first := d.create(proc.Request{Command: proc.Shell("echo up; sleep 1000")})
	d.follow(first.ID).until("stdout: up")
	p := d.run(proc.Request{Command: proc.Shell("true")})
	if p.State != proc.Fail || p.Port != 0 || !strings.Contains(p.Reason, "no port left") || !strings.Contains(p.Reason, "--max-procs") {
		t.Errorf("got %+v", p)
	}
	d.remove(first.ID)
	if p := d.run(proc.Request{Command: proc.Shell("true")}); p.State != proc.Done || p.Port != first.Port {
		t.Errorf("got %+v, want port %d", p, first.Port)
	}
}

// Without a range of ids of its own a proc fails too: none is ever shared.
func TestOutOfIDs(t *testing.T) {
	runDir, other := t.TempDir(), t.TempDir()
	if err := os.MkdirAll(filepath.Join(other, "procs", "theirs"), 0o755); err != nil {
		t.Fatal(err)
	}
	const all = 4095 // from 0x70000000 on
	ids, err := lease.Open(filepath.Join(runDir, "ids"), other, lease.Numbers{Count: all})
	if err != nil {
		t.Fatal(err)
	}
	for range all {
		if _, err := ids.Take("theirs"); err != nil {
			t.Fatal(err)
		}
	}
	d := serve(t, "--run-dir", runDir)
	p := d.run(proc.Request{Command: proc.Shell("true")})
	if p.State != proc.Fail || p.PID != 0 || !strings.Contains(p.Reason, "no range of user ids left") {
		t.Errorf("got %+v", p)
	}
	d.remove(p.ID)
	d.nothingLeftOf(t, p)
	if err := ids.Release(all-1, "theirs"); err != nil {
		t.Fatal(err)
	}
	if p := d.run(proc.Request{Command: proc.Shell("true")}); p.State != proc.Done {
		t.Errorf("with one range: %+v", p)
	}
}

// What the operator has not allowed is not connected to: as an address it is
// refused at once, as a name when it turns out where it leads.
func TestAddressPolicy(t *testing.T) {
	heard := make(chan string, 10)
	url := serveHTTP(t, func(w http.ResponseWriter, r *http.Request) { heard <- r.URL.Path })
	port := url[strings.LastIndex(url, ":"):]
	d := serveIn(t, t.TempDir(), portRange())
	for _, image := range []string{
		url + "app.tar.gz", "http://[::1]" + port, "http://127.1" + port, "http://2130706433" + port, "http://0x7f000001" + port,
		"http://[::ffff:127.0.0.1]" + port, "http://169.254.169.254/latest", "file:///etc/passwd", "/etc/passwd", "ftp://example.com/x",
		"http://user:secret@example.com/app.tar.gz",
	} {
		a := d.do(http.MethodPost, "/v1/procs", proc.Request{App: "blog", Name: "web", Image: image, Command: proc.Shell("true")})
		if a.status != http.StatusBadRequest || !strings.Contains(a.body, `"field":"image"`) {
			t.Errorf("%s: got %s", image, a)
		}
		if strings.Contains(a.body, "secret") {
			t.Errorf("%s: the answer tells the password: %s", image, a)
		}
	}
	p := d.run(proc.Request{Image: "http://localhost" + port + "app.tar.gz", Command: proc.Shell("true")})
	if p.State != proc.Fail || !strings.Contains(p.Reason, "not allowed") || !strings.Contains(p.Reason, "operator") {
		t.Errorf("got %+v", p)
	}
	p = d.run(proc.Request{Command: proc.Shell("true"), Callback: "http://localhost" + port + "hook"})
	if p.State != proc.Done {
		t.Errorf("got %+v", p)
	}
	if len(heard) > 0 {
		t.Errorf("the server was asked for %s", <-heard)
	}
}
