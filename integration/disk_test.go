//go:build integration

package integration

import (
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gilliam/hypervisor/integration/testbed"
	"github.com/gilliam/hypervisor/isolate"
	"github.com/gilliam/hypervisor/server"
	"github.com/gilliam/hypervisor/server/proc"
)

// A proc has a limit of disk that it did not ask for; what it uses is told by the API
// and the metrics, of one that was taken over too; and a restart begins with nothing.
func TestDiskOfProc(t *testing.T) {
	testbed.Leaves(t)
	d := newDaemon(t, t.TempDir(), portRange(), "--max-disk", "2G")
	d.start()
	request := proc.Request{
		App: "disk", Name: "web", Command: proc.Shell("dd if=/dev/zero of=/var/tmp/x bs=1M count=20 2>/dev/null; echo written; sleep infinity"),
	}
	for limit, status := range map[int64]int{2<<30 + 1: http.StatusBadRequest, 1: http.StatusBadRequest} {
		r := request
		r.Limits.Disk = limit
		if a := d.do(http.MethodPost, "/v1/procs", r); a.status != status || !strings.Contains(a.String(), "limits.disk") {
			t.Errorf("%d bytes: %s", limit, a)
		}
	}
	p := decode[proc.Proc](t, d.do(http.MethodPost, "/v1/procs", request))
	if p.Limits.Disk != isolate.DefaultDisk || p.Limits.Inodes != 65536 {
		t.Errorf("limits: %+v", p.Limits)
	}
	used := func() server.Usage {
		t.Helper()
		u := decode[server.Usage](t, d.do(http.MethodGet, "/v1/procs/"+p.ID+"/usage", nil))
		if u.DiskLimit != uint64(isolate.DefaultDisk) || u.InodesLimit < 65536 {
			t.Errorf("usage: %+v", u)
		}
		return u
	}
	d.until(p.ID, "its run", func(p proc.Proc) bool { return p.State == proc.Running })
	testbed.Within(t, patience, "20 MiB of disk", func() bool { return used().Disk >= 20<<20 })
	d.kill()
	d.start()
	if got := used(); got.Disk < 20<<20 || got.Disk > 21<<20 || got.Inodes < 13 {
		t.Errorf("after the daemon was killed: %+v", got)
	}
	if r := d.cli(t, "inspect", "--verify", p.ID); r.code != 0 {
		t.Errorf("verify: %s", r)
	}
	if text := d.do(http.MethodGet, "/metrics", nil).String(); !strings.Contains(text, `gilliam_proc_disk_limit_bytes{app="disk",id="`+p.ID+`",name="web"} 1.073741824e+09`) {
		t.Errorf("metrics: %s", text)
	}
	if a := d.do(http.MethodDelete, "/v1/procs/"+p.ID, nil); a.status != http.StatusNoContent {
		t.Errorf("delete: %s", a)
	}
	d.stop()
	if left, err := filepath.Glob(filepath.Join(d.stateDir, "layers", ".*")); err != nil || len(left) > 0 {
		t.Errorf("left: %q %v", left, err)
	}
}

// New procs are refused when they would not leave enough of the disk free.
func TestDiskReserve(t *testing.T) {
	testbed.Leaves(t)
	d := newDaemon(t, t.TempDir(), portRange(), "--disk-reserve", "99.9%")
	d.start()
	a := d.do(http.MethodPost, "/v1/procs", proc.Request{App: "disk", Name: "web", Command: proc.Shell("true")})
	if a.status != http.StatusInsufficientStorage || !strings.Contains(a.String(), "disk-full") {
		t.Errorf("got %s", a)
	}
	if text := d.do(http.MethodGet, "/metrics", nil).String(); !strings.Contains(text, `gilliam_procs_refused_total{lack="disk"} 1`) {
		t.Errorf("metrics: %s", text)
	}
}
