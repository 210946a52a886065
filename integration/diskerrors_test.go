//go:build integration

package integration

import (
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/gilliam/hypervisor/integration/testbed"
	"github.com/gilliam/hypervisor/server/proc"
)

// On a disk that answers with errors new procs are refused with the reason, and
// nothing is left of them; those that run go on and can be stopped, and when the disk
// is well again all is as before. What could not be recorded the next start finds out.
// Any step of a record may be the one that fails: its folder, its flush, its rename.
func TestDiskErrors(t *testing.T) {
	for _, call := range []string{"fsync", "mkdirat", "renameat"} {
		t.Run(call, func(t *testing.T) {
			testbed.Leaves(t)
			d := newDaemon(t, t.TempDir(), portRange(), "--grace", "5s", "--stop-on-exit=false")
			d.errorsExpected = true
			d.start()
			p := d.create(proc.Request{Name: "obeys", Command: proc.Shell(obeys)})
			d.follow(p.ID).until("stdout: up")
			func() {
				defer d.attach(t, "--output=/dev/null", "--trace="+call, "--inject="+call+":error=EIO")()
				for range 3 {
					d.refused(t, http.StatusInternalServerError, "input/output error")
				}
				if q := d.stopProc(p.ID, ""); q.State != proc.Done {
					t.Errorf("stopped: %+v", q)
				}
				d.pressed(t, "io")
			}()
			d.well(t)
			d.kill()
			d.start()
			if q := d.wait(p.ID); q.State != proc.Done || q.ExitCode == nil || *q.ExitCode != 0 {
				t.Errorf("after the next start: %+v", q)
			}
			entries, err := os.ReadDir(filepath.Join(d.stateDir, "procs"))
			must(t, err)
			if all := d.list(""); len(all) != 2 || len(entries) != 2 {
				t.Errorf("of 2 procs there are %v, listed %+v", entries, all)
			}
			d.remove(p.ID)
		})
	}
}
