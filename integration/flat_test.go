//go:build integration

package integration

import (
	"flag"
	"fmt"
	"net/http"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gilliam/hypervisor/integration/testbed"
	"github.com/gilliam/hypervisor/isolate"
	"github.com/gilliam/hypervisor/server/proc"
)

var launches = flag.Int("launches", 600, "how many procs TestFlat has come and go")

// However many procs come and go through one daemon, it holds no more than after
// the first few hundred, and nor does the machine. The daemon is the one that
// everybody runs, without the race detector, which has memory of its own.
func TestFlat(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "hypervisor")
	must(t, goBuild(binary, "../cmd/hypervisor", "CGO_ENABLED=0"))
	d := newDaemon(t, t.TempDir(), portRange(), "--run-dir", filepath.Join(t.TempDir(), "run"))
	testbed.Leaves(t)
	d.binary = binary
	d.start()
	warm := max(*launches/10, 50)
	d.comeAndGo(t, warm)
	before := d.measure(t)
	t.Logf("after %6d %v", warm, before)
	begun := time.Now()
	for n := range 4 {
		part := (*launches - warm) / 4
		d.comeAndGo(t, part)
		if n < 3 {
			t.Logf("after %6d %v", warm+(n+1)*part, d.measure(t))
		}
	}
	took := time.Since(begun)
	// The heap grows a little until it is as large as it is going to be.
	// Of memory cgroups and namespaces others on this machine have some, too.
	after := d.noMore(t, before, measured{descriptors: 2, goroutines: 4, threads: 8, rss: 12 << 20, memcgs: max(100, *launches/20), netns: 8, userns: 100})
	t.Logf("after %6d %v; %v each, four at a time", *launches, after, (took / time.Duration(*launches-warm)).Round(10*time.Microsecond))
}

// comeAndGo launches so many procs, waits for their ends and removes them: every
// second one with a network of its own.
func (d *daemon) comeAndGo(t *testing.T, procs int) {
	t.Helper()
	const workers = 4
	var made atomic.Int64
	var all sync.WaitGroup
	for range workers {
		all.Go(func() {
			for n := made.Add(1); n <= int64(procs) && !t.Failed(); n = made.Add(1) {
				if err := d.once(t, n); err != nil {
					t.Errorf("proc %d: %v", n, err)
				}
			}
		})
	}
	all.Wait()
	if t.Failed() {
		t.FailNow()
	}
}

func (d *daemon) once(t *testing.T, n int64) error {
	r := proc.Request{App: "flat", Name: fmt.Sprint("n", n), Command: proc.Exec("/bin/true"), Network: isolate.NetworkHost}
	if n%2 == 0 {
		r.Network = isolate.NetworkNone
	}
	a := d.do(http.MethodPost, "/v1/procs", r)
	if a.status != http.StatusCreated {
		return fmt.Errorf("create: %s", a)
	}
	id := decode[proc.Proc](t, a).ID
	a = d.do(http.MethodGet, "/v1/procs/"+id+"/wait?timeout="+patience.String(), nil)
	if a.status != http.StatusOK || decode[proc.Proc](t, a).State != proc.Done {
		return fmt.Errorf("wait: %s", a)
	}
	if a = d.do(http.MethodDelete, "/v1/procs/"+id, nil); a.status != http.StatusNoContent {
		return fmt.Errorf("remove: %s", a)
	}
	return nil
}
