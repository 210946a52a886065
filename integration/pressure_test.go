//go:build integration

package integration

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/gilliam/hypervisor/integration/testbed"
	"github.com/gilliam/hypervisor/server/proc"
)

// A panic in the life of one proc is that proc's end, and nobody else's.
func TestPanicOfOneProc(t *testing.T) {
	binary, err := crashable()
	must(t, err)
	for _, point := range []string{"proc.spec.written", "isolate.mounts.made", "isolate.program.started"} {
		t.Run(point, func(t *testing.T) {
			d := newDaemon(t, t.TempDir(), portRange())
			d.binary, d.env, d.errorsExpected = binary, []string{"GILLIAM_PANIC=" + point}, true
			d.bugsExpected = true
			testbed.Leaves(t)
			d.start()
			p := d.run(proc.Request{Command: proc.Shell("exec sleep 1000")})
			if p.State != proc.Fail || !strings.Contains(p.Reason, "bug: panic: failpoint "+point) {
				t.Errorf("got %+v", p)
			}
			if a := d.do(http.MethodGet, "/metrics", nil); !strings.Contains(a.body, "gilliam_panics_total{where=") {
				t.Error("it is not counted")
			}
			d.remove(p.ID)
			d.nothingLeftOf(t, p)
		})
	}
}

// With a full disk procs that run go on and can be stopped and removed, new ones
// are refused with the reason, and when there is room again all is as before.
func TestDiskFull(t *testing.T) {
	testbed.Leaves(t)
	dir := t.TempDir()
	socket := filepath.Join(t.TempDir(), "s.sock")
	d := newDaemon(t, dir, portRange(), "--grace", "2s", "--socket", socket)
	d.socket, d.client = socket, onSocket(t, socket)
	// A small file system that nobody else sees.
	d.before = []string{"unshare", "--mount", "sh", "-c", `mount -t tmpfs -o size=4m,mode=700 tmpfs "$0" && exec "$@"`, dir}
	d.errorsExpected = true
	d.start()
	seen := fmt.Sprintf("/proc/%d/root%s", d.pid(), dir) // what the daemon sees there
	runs := d.create(proc.Request{Name: "runs", Command: proc.Shell("trap 'exit 0' TERM; echo up; n=0; while :; do echo $((n++)); read -t 0.01 <> <(:); done")})
	d.follow(runs.ID).until("stdout: up")
	goes := d.create(proc.Request{Name: "goes", Command: proc.Shell("echo up; exec sleep 1000")})
	d.follow(goes.ID).until("stdout: up")

	fill(t, seen+"/fill")
	a := d.do(http.MethodPost, "/v1/procs", proc.Request{App: "blog", Name: "new", Command: proc.Shell("true")})
	if a.status != http.StatusInsufficientStorage || !strings.Contains(a.body, "too full for a new proc") || !strings.Contains(a.header.Get("Content-Type"), "problem+json") {
		t.Errorf("a new proc: %s", a)
	}
	if p := d.get(runs.ID); p.State != proc.Running {
		t.Errorf("got %+v", p)
	}
	if p := d.stopProc(runs.ID, ""); p.State != proc.Done {
		t.Errorf("stopped with a full disk: %+v", p)
	}
	d.remove(goes.ID)
	must(t, os.Remove(seen+"/fill"))
	if p := d.run(proc.Request{Name: "after", Command: proc.Shell("echo well")}); p.State != proc.Done || d.output(p.ID) != "well\n" {
		t.Errorf("with room again: %+v", p)
	}
	if got := d.list(""); len(got) != 2 {
		t.Errorf("got %d procs, want 2: %+v", len(got), got)
	}
}

// fill fills a file system to its last byte.
func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	must(t, err)
	defer f.Close()
	for _, size := range []int{1 << 16, 1} {
		for {
			if _, err := io.WriteString(f, strings.Repeat("x", size)); err != nil {
				if !strings.Contains(err.Error(), unix.ENOSPC.Error()) {
					t.Fatal(err)
				}
				break
			}
		}
	}
}
