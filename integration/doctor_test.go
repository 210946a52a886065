//go:build integration

package integration

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/gilliam/hypervisor/integration/testbed"
	"github.com/gilliam/hypervisor/isolate"
	"github.com/gilliam/hypervisor/server"
	"github.com/gilliam/hypervisor/server/proc"
)

// The doctor finds what bears our mark and is no proc's, changes nothing unless it
// is told to, and never touches what is someone else's.
func TestDoctor(t *testing.T) {
	runDir := filepath.Join(t.TempDir(), "run")
	d := serve(t, "--run-dir", runDir)
	p := d.create(proc.Request{Command: proc.Shell("echo up; exec sleep 1000")})
	d.follow(p.ID).until("stdout: up")
	other := serve(t, "--run-dir", runDir)
	q := other.create(proc.Request{Command: proc.Shell("echo up; exec sleep 1000")})
	other.follow(q.ID).until("stdout: up")
	if r := d.cli(t, "doctor"); r.code != 0 || !strings.Contains(r.stdout, "nothing is left behind") {
		t.Errorf("of a sound node: %s", r)
	}

	lost := uuid.NewString() // its record is gone
	for _, dir := range []string{"layers/" + lost, "procs/.trash-" + lost, "volumes/.trash-" + lost} {
		must(t, os.Mkdir(filepath.Join(d.stateDir, dir), 0o700))
	}
	for _, file := range []string{"ids/4711", "ports/4711"} {
		must(t, os.WriteFile(filepath.Join(runDir, file), []byte(lost+" "+d.stateDir+"\n"), 0o600))
	}
	orphan := orphanOf(t, d, p)
	want := []string{"folder " + lost, "ids 4711 " + lost, "layer " + lost, "port 4711 " + lost, "sandbox " + orphan, "volume .trash-" + lost}
	r := d.cli(t, "doctor")
	for _, leak := range want {
		if !strings.Contains(r.stdout, "leak    "+leak) {
			t.Errorf("no %q in %s", leak, r)
		}
	}
	if r.code != 1 || strings.Count(r.stdout, "leak ") != len(want) || strings.Contains(r.stdout, q.ID) || strings.Contains(r.stdout, p.ID) {
		t.Errorf("got %s", r)
	}
	if _, err := os.Stat(filepath.Join(d.stateDir, "layers", lost)); err != nil {
		t.Errorf("changed without --repair: %v", err)
	}
	if r := d.cli(t, "doctor", "--repair"); r.code != 0 || strings.Count(r.stdout, "removed ") != len(want) {
		t.Errorf("got %s", r)
	}
	r = d.cli(t, "doctor", "--json")
	var found server.Findings
	if err := json.Unmarshal([]byte(r.stdout), &found); err != nil || len(found.Leaks) > 0 || r.code != 0 {
		t.Errorf("after the repair: %v %s", err, r)
	}
	for d, p := range map[*daemon]proc.Proc{d: p, other: q} {
		if got := d.get(p.ID); got.State != proc.Running {
			t.Errorf("got %+v", got)
		}
	}
}

// What nobody has is found on a timer too, said, counted and removed, while procs
// come and go beside it.
func TestAuditByItself(t *testing.T) {
	d := serve(t, "--audit-interval", "200ms", "--run-dir", filepath.Join(t.TempDir(), "run"))
	p := d.create(proc.Request{Command: proc.Shell("echo up; exec sleep 1000")})
	d.follow(p.ID).until("stdout: up")
	lost, orphan := uuid.NewString(), orphanOf(t, d, p)
	layer := filepath.Join(d.stateDir, "layers", lost)
	must(t, os.Mkdir(layer, 0o700))
	counted := map[string]bool{}
	testbed.Within(t, patience, "the count of both", func() bool {
		metrics := d.want(http.StatusOK, http.MethodGet, "/metrics", nil, nil).body
		for _, kind := range []string{"layer", "sandbox"} {
			counted[kind] = counted[kind] || strings.Contains(metrics, `gilliam_leaked_resources{kind="`+kind+`"} 1`)
		}
		return counted["layer"] && counted["sandbox"]
	})
	testbed.Within(t, patience, "their end", func() bool {
		_, err := os.Lstat(layer)
		return os.IsNotExist(err) && len(cgroups(t, orphan)) == 0
	})
	for _, leak := range []string{`"kind":"layer","name":"` + lost, `"kind":"sandbox","name":"` + orphan} {
		if !strings.Contains(d.log(), leak) {
			t.Errorf("the log does not tell of %s", leak)
		}
	}
	for range 10 {
		d.remove(d.run(proc.Request{Command: proc.Exec("/bin/true")}).ID)
	}
	if got := d.get(p.ID); got.State != proc.Running || strings.Count(d.log(), `"msg":"leak"`) != 2 {
		t.Errorf("got %+v", got)
	}
}

// orphanOf makes cgroups that are marked as those of d's procs are.
func orphanOf(t *testing.T, d *daemon, like proc.Proc) string {
	t.Helper()
	id := uuid.NewString()
	for _, dir := range cgroups(t, like.ID) {
		orphan := filepath.Join(filepath.Dir(dir), id)
		must(t, os.Mkdir(orphan, 0o755))
		markOf(t, dir, orphan)
	}
	boxes, err := isolate.Sandboxes()
	must(t, err)
	if boxes[id] != d.stateDir {
		t.Fatalf("the mark is %q, want %q", boxes[id], d.stateDir)
	}
	return id
}

// A drained node has no procs and takes none until it is told to.
func TestDrain(t *testing.T) {
	d := serve(t, "--grace", "1s")
	p := d.create(proc.Request{Command: proc.Shell(ignores), Supervision: restart(proc.RestartAlways, 0)})
	d.follow(p.ID).until("stdout: up")
	if r := d.cli(t, "drain"); r.code != 0 {
		t.Errorf("got %s", r)
	}
	if p := d.get(p.ID); p.State != proc.Fail || !strings.Contains(p.Reason, "drained") {
		t.Errorf("got %+v", p)
	}
	if a := d.do(http.MethodPost, "/v1/procs", proc.Request{App: "a", Name: "b", Command: proc.Shell("true")}); a.status != http.StatusServiceUnavailable || !strings.Contains(a.body, "draining") {
		t.Errorf("got %s", a)
	}
	if r := d.cli(t, "drain", "--undo"); r.code != 0 {
		t.Errorf("got %s", r)
	}
	if p := d.run(proc.Request{Command: proc.Shell("true")}); p.State != proc.Done {
		t.Errorf("got %+v", p)
	}
}
