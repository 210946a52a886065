//go:build integration

package integration

import (
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/gilliam/hypervisor/server/proc"
)

// Twenty procs start at once, all answer, each as itself, and all are removed at
// once.
func TestTwentyAtOnce(t *testing.T) {
	images := serveImages(t, map[string][]byte{"go.tar.gz": gowebImage(t)})
	d := serve(t)
	procs := make([]proc.Proc, 20)
	each := func(do func(n int)) {
		var all sync.WaitGroup
		for n := range procs {
			all.Go(func() { do(n) })
		}
		all.Wait()
		if t.Failed() {
			t.FailNow()
		}
	}
	each(func(n int) {
		r := proc.Request{App: "many", Name: fmt.Sprintf("web.%d", n), Image: images + "go.tar.gz", Command: proc.Exec("./goweb")}
		a := d.do(http.MethodPost, "/v1/procs", r)
		if a.status != http.StatusCreated {
			t.Errorf("proc %d: got %s", n, a)
			return
		}
		procs[n] = decode[proc.Proc](t, a)
	})
	ports, pids := map[int]bool{}, map[int]bool{}
	for n, p := range procs {
		if got, want := page(t, p.Port), fmt.Sprintf("goweb on many-web.%d\n", n); got != want {
			t.Errorf("port %d: got %q, want %q", p.Port, got, want)
		}
		d.follow(p.ID).until("stdout: goweb listens") // it may answer before it is known to run
		ports[p.Port] = true
		pids[d.get(p.ID).PID] = true
	}
	if len(ports) != len(procs) || len(pids) != len(procs) {
		t.Errorf("got %d ports and %d processes for %d procs", len(ports), len(pids), len(procs))
	}
	if got := d.list("?app=many&state=running"); len(got) != len(procs) {
		t.Errorf("%d are listed as running", len(got))
	}
	each(func(n int) {
		if a := d.do(http.MethodDelete, "/v1/procs/"+procs[n].ID, nil); a.status != http.StatusNoContent {
			t.Errorf("delete: got %s", a)
		}
	})
	if got := d.list(""); len(got) != 0 {
		t.Errorf("%d are left", len(got))
	}
	d.nothingLeftBut(t)
}

// A proc that is removed while its image arrives is gone at once, and with it
// the transfer.
func TestRemoveDuringBoot(t *testing.T) {
	arrived, cancelled := make(chan struct{}, 1), make(chan struct{}, 1)
	images := stall(t, arrived, cancelled)
	for name, end := range map[string]func(d *daemon, p proc.Proc){
		"delete": func(d *daemon, p proc.Proc) {
			d.want(http.StatusNoContent, http.MethodDelete, "/v1/procs/"+p.ID, nil, nil)
			d.want(http.StatusNotFound, http.MethodGet, "/v1/procs/"+p.ID, nil, nil)
			d.noFolders()
			d.nothingLeftOf(t, p)
		},
		"stop": func(d *daemon, p proc.Proc) {
			p = d.stopProc(p.ID, "")
			if p.State != proc.Fail || p.Reason != "stopped by request before it ran" {
				t.Errorf("got %+v", p)
			}
			d.noFolders()
		},
		"end of the daemon": func(d *daemon, p proc.Proc) { d.stop() },
	} {
		t.Run(name, func(t *testing.T) {
			d := serve(t)
			p := d.create(proc.Request{Image: images + "app.tar.gz", Command: proc.Shell("true")})
			soon(t, arrived, "the fetch")
			if p := d.get(p.ID); p.State != proc.Boot {
				t.Errorf("got state %s", p.State)
			}
			start := time.Now()
			end(d, p)
			if took := time.Since(start); took > 3*time.Second {
				t.Errorf("it took %v", took)
			}
			soon(t, cancelled, "the end of the fetch")
		})
	}
}

// stall serves images of which only the beginning ever comes. It tells when one
// is asked for, and when the one who asked has gone.
func stall(tb testing.TB, arrived, cancelled chan<- struct{}) (url string) {
	return serveHTTP(tb, func(w http.ResponseWriter, r *http.Request) {
		w.Write([]byte("\x1f\x8b\x08"))
		w.(http.Flusher).Flush()
		arrived <- struct{}{}
		<-r.Context().Done()
		cancelled <- struct{}{}
	})
}

// soon waits for an event.
func soon[T any](tb testing.TB, c <-chan T, what string) (v T) {
	tb.Helper()
	select {
	case v = <-c:
	case <-time.After(patience):
		tb.Fatalf("%s: not within %v", what, patience)
	}
	return v
}
