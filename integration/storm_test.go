//go:build integration

package integration

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gilliam/hypervisor/integration/testbed"
	"github.com/gilliam/hypervisor/server/proc"
)

// Sixteen clients do what they like, in no order, to the same procs. The daemon
// answers each, and afterwards holds no more than before.
func TestStorm(t *testing.T) {
	const workers, each = 16, 12
	d := serve(t)
	d.run(proc.Request{Command: proc.Shell("true")}) // what is made once is there
	d.http.CloseIdleConnections()
	before := d.descriptors()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)

	var s storm
	var all sync.WaitGroup
	for n := range workers {
		all.Go(func() {
			r := rand.New(rand.NewPCG(seed, uint64(n)))
			for range each {
				if what, a := s.act(d, r); a.err != nil || a.status == 0 || a.status >= 500 {
					t.Errorf("%s: got %s", what, a)
				}
			}
		})
	}
	all.Wait()
	for _, p := range d.list("") {
		d.remove(p.ID)
	}
	d.noFolders()
	d.nothingLeftBut(t)
	if metrics := d.want(http.StatusOK, http.MethodGet, "/metrics", nil, nil).body; !strings.Contains(metrics, "\ngilliam_usage_errors_total 0\n") {
		t.Errorf("the usage of a proc could not be read:\n%s", metrics)
	}
	d.holdsNoMore(t, before, 40) // one user namespace for each proc that ran beside others
}

// However many procs have come and gone, the daemon holds no more than after the
// first.
func TestOneAfterAnother(t *testing.T) {
	d := serve(t)
	var before []string
	for n := range 30 {
		p := d.run(proc.Request{Command: proc.Exec("/bin/true")})
		d.remove(p.ID)
		if n == 0 {
			d.http.CloseIdleConnections()
			before = d.descriptors()
		}
	}
	d.holdsNoMore(t, before, 0)
}

// holdsNoMore fails the test when the daemon has more open than before.
func (d *daemon) holdsNoMore(tb testing.TB, before []string, more int) {
	tb.Helper()
	const connections = 2 // of the test's
	d.http.CloseIdleConnections()
	if !testbed.Eventually(5*time.Second, func() bool { return len(d.descriptors()) <= len(before)+more+connections }) {
		tb.Errorf("open descriptors:\n%q\nbefore:\n%q", d.descriptors(), before)
	}
}

// A storm is the procs that its workers know.
type storm struct {
	mu     sync.Mutex
	ids    []string
	scrape sync.Mutex // more than a few at a time are refused
}

// any is one of the ids, or one that never was.
func (s *storm) any(r *rand.Rand) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.ids) == 0 {
		return "11111111-1111-4111-8111-111111111111"
	}
	return s.ids[r.IntN(len(s.ids))]
}

var stormy = []proc.Command{
	proc.Exec("/bin/true"), proc.Shell("echo out; echo err >&2; exit 3"), proc.Exec("/bin/sleep", "1000"),
	proc.Shell("trap '' TERM; while :; do sleep 1000; done"), proc.Exec("/no/such"),
}

// act does one thing.
func (s *storm) act(d *daemon, r *rand.Rand) (what string, a answer) {
	method, path, body := http.MethodGet, "/v1/procs/"+s.any(r), any(nil)
	switch n := r.IntN(100); {
	case n < 35:
		method, path = http.MethodPost, "/v1/procs"
		body = proc.Request{App: "storm", Name: fmt.Sprint("web.", n), Command: stormy[r.IntN(len(stormy))]}
	case n < 45:
	case n < 55:
		path = []string{"/v1/procs", "/proc"}[r.IntN(2)]
	case n < 60:
		path += "/logs"
	case n < 65:
		path += "/wait?timeout=50ms"
	case n < 75:
		method, path = http.MethodPost, path+"/stop?grace=0s"
	case n < 90:
		method, path = http.MethodDelete, path+"?grace=0s"
	default:
		path = "/metrics"
		s.scrape.Lock()
		defer s.scrape.Unlock()
	}
	a = d.do(method, path, body)
	if a.status == http.StatusCreated {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.ids = append(s.ids, decode[proc.Proc](d.tb, a).ID)
	}
	return method + " " + path, a
}

// descriptors is what the daemon has open, once it has made the layers that it makes
// ahead.
func (d *daemon) descriptors() (open []string) {
	d.tb.Helper()
	testbed.Eventually(5*time.Second, func() bool {
		open = d.openNow()
		return strings.Count(strings.Join(open, "\n"), "/layers/"+readyLayer) == 2
	})
	return open
}

func (d *daemon) openNow() (open []string) {
	d.tb.Helper()
	links, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", d.pid()))
	must(d.tb, err)
	for _, link := range links {
		if to, err := os.Readlink(link); err == nil {
			open = append(open, to)
		}
	}
	return open
}

// A scrape that comes while procs end counts no errors.
func TestScrapeWhileProcsEnd(t *testing.T) {
	d := serve(t)
	stop, done := make(chan struct{}), make(chan string)
	// Owned by the test, which closes stop and receives from done.
	go func() {
		for {
			a := d.do(http.MethodGet, "/metrics", nil)
			select {
			case <-stop:
				done <- a.body
				return
			default:
			}
		}
	}()
	for range 20 {
		d.run(proc.Request{Command: proc.Exec("/bin/true")})
	}
	close(stop)
	if body := soon(t, done, "the last scrape"); !strings.Contains(body, "\ngilliam_usage_errors_total 0\n") {
		t.Errorf("got\n%s", body)
	}
}
