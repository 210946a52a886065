//go:build integration

package integration

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gilliam/hypervisor/integration/testbed"
	"github.com/gilliam/hypervisor/server/proc"
)

var older = flag.String("older", "", "have TestUpgrade replace this older hypervisor `binary`, instead of one of this source with another sandbox-init")

// olderHypervisor is one with another sandbox-init, as another version has: its
// bytes are other ones.
func olderHypervisor(t *testing.T) string {
	t.Helper()
	if *older != "" {
		path, err := filepath.Abs(*older)
		must(t, err)
		return path
	}
	dir := t.TempDir()
	init, binary := filepath.Join(dir, "sandbox-init"), filepath.Join(dir, "hypervisor")
	must(t, goBuild(init, "../cmd/sandbox-init", "CGO_ENABLED=0")) // with the symbols that the embedded one lacks
	embedded, err := filepath.Abs("../isolate/initbin/sandbox-init")
	must(t, err)
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{embedded: init}})
	must(t, err)
	must(t, os.WriteFile(filepath.Join(dir, "overlay.json"), overlay, 0o600))
	must(t, goBuild(binary, "../cmd/hypervisor", "CGO_ENABLED=0", "-overlay", filepath.Join(dir, "overlay.json")))
	return binary
}

// A hypervisor is replaced by a newer one while apps run, and that by the older one
// again. All of them go on in the sandbox-init that they have, which does for the one
// what it did for the other; new ones get the new one's.
func TestUpgrade(t *testing.T) {
	old := olderHypervisor(t)
	for name, end := range map[string]func(*daemon){"killed": (*daemon).kill, "stopped": (*daemon).stop} {
		t.Run(name, func(t *testing.T) {
			testbed.Leaves(t)
			d := newDaemon(t, t.TempDir(), portRange(), "--stop-on-exit=false", "--restart-wait", "10ms")
			d.binary = filepath.Join(t.TempDir(), "hypervisor")
			replace(t, d.binary, old)
			d.start()
			counts := d.create(proc.Request{Name: "counts", Command: proc.Shell(
				`trap 'echo bye; exit 0' TERM; n=0; while :; do echo $((n++)); read -t 0.01 <> <(:); done`),
				Supervision: proc.Supervision{Health: &proc.Health{Exec: []string{"true"}, Interval: 0.05}}})
			ends := d.create(proc.Request{Name: "ends", Command: proc.Shell("echo up; read -t 1 <> <(:); exit 7")})
			d.follow(ends.ID).until("stdout: up")
			was := d.until(counts.ID, "healthy", func(p proc.Proc) bool { return p.Status == proc.HealthHealthy })
			pid := d.get(ends.ID).PID
			end(d)
			gone(t, pid)

			replace(t, d.binary, *hypervisor)
			d.start()
			d.goesOn(t, was)
			if p := d.wait(ends.ID); p.State != proc.Fail || *p.ExitCode != 7 {
				t.Errorf("got %+v", p)
			}
			after := d.create(proc.Request{Name: "after", Command: proc.Shell("echo up; exec sleep 1000")})
			d.follow(after.ID).until("stdout: up")
			after = d.get(after.ID)
			if bytes.Equal(executable(t, was.PID), executable(t, after.PID)) {
				t.Error("both have the same sandbox-init: this tests nothing")
			}
			if *older == "" { // which need not know what is newer
				end(d)
				replace(t, d.binary, old)
				d.start()
				d.goesOn(t, was)
				d.goesOn(t, after)
			}
			if p := d.stopProc(counts.ID, ""); p.State != proc.Done {
				t.Errorf("got %+v", p)
			}
			lines := d.logs(counts.ID, "")
			for n, line := range lines[:len(lines)-1] {
				if line != fmt.Sprint("stdout: ", n) {
					t.Fatalf("line %d is %q", n, line)
				}
			}
			if lines[len(lines)-1] != "stdout: bye" {
				t.Errorf("the last line is %q", lines[len(lines)-1])
			}
			d.remove(after.ID)
		})
	}
}

// goesOn fails the test unless a proc runs as it did, is what its plan says, writes,
// and can still be told to run commands.
func (d *daemon) goesOn(t *testing.T, was proc.Proc) {
	t.Helper()
	p := d.get(was.ID)
	if p.State != proc.Running || p.PID != was.PID || p.Port != was.Port || !p.Started.Equal(*was.Started) || p.Restarts != 0 {
		t.Errorf("got %+v, was %+v", p, was)
	}
	// The plan is the one that this hypervisor would make: an older one's may lack
	// something of it.
	if r := d.cli(t, "inspect", "--verify", p.ID); r.code != 0 && *older == "" {
		t.Errorf("verify %s: %s", p.Name, r)
	}
	if was.Status == "" {
		return
	}
	f := d.follow(p.ID) // its beginning, and then what is new
	for n := range len(d.logs(p.ID, "")) + 5 {
		if l, ok := f.next(); !ok || l.Text != fmt.Sprint(n) {
			t.Fatalf("%s: line %d is %+v", p.Name, n, l)
		}
	}
	if q := d.get(p.ID); q.Status != proc.HealthHealthy { // its check runs in the sandbox
		t.Errorf("got %+v", q)
	}
	if strings.Contains(d.log(), "health not checked") {
		t.Error("its check could not be made")
	}
}

// replace puts another program in the place of one that may be running.
func replace(t *testing.T, path, by string) {
	t.Helper()
	b, err := os.ReadFile(by)
	must(t, err)
	must(t, os.WriteFile(path+".new", b, 0o755))
	must(t, os.Rename(path+".new", path))
}

// executable is the program that a process runs, from wherever it was.
func executable(t *testing.T, pid int) []byte {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/exe", pid))
	must(t, err)
	return b
}
