package server

import (
	"strings"
	"testing"

	"github.com/gilliam/hypervisor/server/proc"
)

func TestPlan(t *testing.T) {
	w := newWorld(t)
	body := `{"app":"blog","name":"web","command":["true"]}`
	got := call(t, w.unix.URL, "POST", "/v1/procs?dry_run=true", body)
	if got.StatusCode != 200 || !strings.Contains(got.body, `"hostname":"blog-web"`) || len(w.procs.procs) != 0 {
		t.Errorf("dry run: %d %s, and %d procs", got.StatusCode, got.body, len(w.procs.procs))
	}
	got = call(t, w.unix.URL, "POST", "/v1/procs?dry_run=true", body, "Accept", "text/plain")
	if got.StatusCode != 200 || !strings.HasPrefix(got.body, "sandbox planned\n") {
		t.Errorf("dry run as text: %d %s", got.StatusCode, got.body)
	}
	if got := call(t, w.unix.URL, "POST", "/v1/procs?dry_run=perhaps", body); got.StatusCode != 400 {
		t.Errorf("dry run perhaps: %d", got.StatusCode)
	}
	up, down := w.procs.add(proc.Proc{State: proc.Running}), w.procs.add(proc.Proc{State: proc.Done})
	if got := call(t, w.unix.URL, "GET", "/v1/procs/"+up.ID+"/plan", ""); got.StatusCode != 200 || !strings.Contains(got.body, up.ID) {
		t.Errorf("plan: %d %s", got.StatusCode, got.body)
	}
	if got := call(t, w.unix.URL, "GET", "/v1/procs/"+down.ID+"/plan", ""); got.StatusCode != 409 {
		t.Errorf("plan of one that has ended: %d %s", got.StatusCode, got.body)
	}
}

func TestVerify(t *testing.T) {
	w := newWorld(t)
	for app, want := range map[string]string{
		"straight": `{"differences":[]}`,
		"crooked":  `{"differences":[{"fact":"umask","want":"0022","got":"0000"}]}`,
	} {
		p := w.procs.add(proc.Proc{App: app, State: proc.Running})
		if got := call(t, w.unix.URL, "GET", "/v1/procs/"+p.ID+"/verify", ""); got.StatusCode != 200 || strings.TrimSpace(got.body) != want {
			t.Errorf("%s: %d %s", app, got.StatusCode, got.body)
		}
	}
	p := w.procs.add(proc.Proc{State: proc.Fail})
	if got := call(t, w.unix.URL, "GET", "/v1/procs/"+p.ID+"/verify", ""); got.StatusCode != 409 {
		t.Errorf("one that has ended: %d %s", got.StatusCode, got.body)
	}
}

func TestUsage(t *testing.T) {
	w := newWorld(t)
	p := w.procs.add(proc.Proc{State: proc.Running})
	want := `{"cpu_seconds":1.5,"memory":4096,"memory_limit":1073741824,"pids":2,"pids_limit":512,"disk":8192,"disk_limit":1073741824,"inodes":12,"inodes_limit":65536,` +
		`"volumes":[{"target":"/db","disk":4096,"disk_limit":1048576,"inodes":11,"inodes_limit":64}]}`
	if got := call(t, w.unix.URL, "GET", "/v1/procs/"+p.ID+"/usage", ""); got.StatusCode != 200 || strings.TrimSpace(got.body) != want {
		t.Errorf("got %d %s", got.StatusCode, got.body)
	}
	p = w.procs.add(proc.Proc{State: proc.Done})
	if got := call(t, w.unix.URL, "GET", "/v1/procs/"+p.ID+"/usage", ""); got.StatusCode != 409 {
		t.Errorf("one that has ended: %d %s", got.StatusCode, got.body)
	}
}
