//go:build integration

package integration

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gilliam/hypervisor/server"
	"github.com/gilliam/hypervisor/server/proc"
)

// What a client or a receiver is told is on the disk by then: the content of a file is
// flushed before it gets its name, and the folder with the name before anybody is told.
// A power cut finds a flush that is missing if it comes in the right millisecond; the
// order of system calls tells always.
func TestFlushedBeforeTold(t *testing.T) {
	images := serveImages(t, map[string][]byte{"app.tar.gz": pack(t, file{name: "hello", content: "hello\n"})})
	d := serve(t)
	receiver := newMailbox(t)
	trace := filepath.Join(t.TempDir(), "trace")
	detach := d.attach(t, "--output="+trace, "--decode-fds=path,socket", "--string-limit=4096", "--trace=fsync,syncfs,renameat,renameat2,mkdirat,write")
	d.want(http.StatusCreated, http.MethodPost, "/v1/volumes", server.VolumeRequest{Name: "v", Size: 4 << 20}, nil)
	p := d.create(proc.Request{
		Name: "runs", Image: images + "app.tar.gz", Command: proc.Shell("echo up; exit 3"), Callback: receiver.url(), Mounts: []proc.Mount{volume("v", "/v")},
	})
	p = d.wait(p.ID)
	d.allTold()
	states := receiver.states(t, p.ID)
	d.want(http.StatusNoContent, http.MethodDelete, "/v1/procs/"+p.ID, nil, nil)
	d.want(http.StatusNoContent, http.MethodDelete, "/v1/volumes/v", nil, nil)
	d.want(http.StatusOK, http.MethodGet, "/healthz", nil, nil) // by then strace has seen the end of what wrote the answer before
	detach()
	text, err := os.ReadFile(trace)
	must(t, err)
	o := order{t, d.stateDir, parseCalls(string(text))}

	told := o.told(0, "HTTP/1.1 201 Created", "Location: /v1/volumes/v")
	o.replaced("volumes/.new-v/volume.json", told)
	o.replaced("volumes/v", told)

	told = o.told(told, "HTTP/1.1 201 Created", "Location: /v1/procs/"+p.ID)
	o.record(p.ID, 1, told)
	if folder, ok := o.first("mkdirat", told, "/procs/"+p.ID+`"`); !ok || !o.flushed(o.path("procs"), folder.end, told) {
		t.Error("the name of the proc's folder is not flushed before it is told")
	}
	if len(states) < 4 || p.State != proc.Fail {
		t.Fatalf("got %+v, and the receiver was told %q", p, states)
	}
	for n := range states {
		told := o.told(0, "POST /hook", fmt.Sprintf(`Webhook-Id: %s-%d\r\n`, p.ID, n+1))
		o.record(p.ID, n+1, told)
		if event, ok := o.first("write", told, "/outbox/", fmt.Sprintf(`\"seq\":%d,`, n+1)); !ok || !o.flushed(event.file(), event.end, told) {
			t.Errorf("the callback of number %d is sent before it is flushed into the outbox", n+1)
		}
		if states[n] == "running" {
			o.replaced("cache/"+strings.TrimPrefix(p.ImageDigest, "sha256:"), told)
		}
	}
	told = o.told(told, "HTTP/1.1 200 OK", `\"id\":\"`+p.ID, `\"exit_code\":3`)
	o.record(p.ID, len(states), told)
	if !o.flushed(o.path("procs", p.ID, "log.0"), 0, told) {
		t.Error("the log is not flushed before the end is told")
	}
	told = o.told(told, "HTTP/1.1 204 No Content")
	o.gone("procs/"+p.ID, told)
	o.gone("volumes/v", o.told(told, "HTTP/1.1 204 No Content"))
}

// An order is that of what a daemon has done, on its state folder and sockets.
type order struct {
	t     *testing.T
	state string
	calls
}

func (o order) path(names ...string) string {
	return filepath.Join(append([]string{o.state}, names...)...)
}

// told is when something is said over a socket, with all of the texts in it, for the first
// time after a line.
func (o order) told(after int, texts ...string) int {
	o.t.Helper()
	for _, c := range o.calls {
		if _, ok := (calls{c}).first("write", c.end+1, texts...); ok && c.begun > after && strings.Contains(c.text, ":[") && c.file() == "" {
			return c.begun
		}
	}
	o.t.Fatalf("nobody is told %q", texts)
	return 0
}

// replaced fails the test unless the last that got a path before something was told
// was flushed with all that had been written, and then the folder with its name.
func (o order) replaced(path string, told int) {
	o.t.Helper()
	var last *rename
	for _, r := range o.renames() {
		if r.to == o.path(path) && r.end < told {
			last = &r
		}
	}
	if last == nil {
		o.t.Errorf("nothing got the name %s before it was told", path)
		return
	}
	written := 0
	for _, c := range o.calls {
		if c.name == "write" && strings.HasPrefix(c.file(), last.from) && c.end < last.begun {
			written = c.end
		}
	}
	if !o.flushed(last.from, written, last.begun) {
		o.t.Errorf("%s got its name before it was flushed", path)
	}
	if !o.flushed(filepath.Dir(last.to), last.end, told) {
		o.t.Errorf("the name of %s was told before it was flushed", path)
	}
}

// record fails the test unless the record of a proc with a number in it was flushed, and
// then the folder with its name, before something was told.
func (o order) record(id string, seq, told int) {
	o.t.Helper()
	path := o.path("procs", id, "proc.json")
	written, ok := o.first("write", told, o.path("procs", id, ".new-proc.json"), fmt.Sprintf(`\"seq\":%d,`, seq))
	for _, r := range o.renames() {
		if ok && r.from == written.file() && r.to == path && o.flushed(r.from, written.end, r.begun) && o.flushed(filepath.Dir(path), r.end, told) {
			return
		}
	}
	o.t.Errorf("the record of number %d was told before it was flushed", seq)
}

// gone fails the test unless it was flushed that a path has nothing any more, before it
// was told.
func (o order) gone(path string, told int) {
	o.t.Helper()
	for _, r := range o.renames() {
		if r.from == o.path(path) && o.flushed(filepath.Dir(r.from), r.end, told) {
			return
		}
	}
	o.t.Errorf("that %s is gone was told before it was flushed", path)
}
