//go:build integration

package integration

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/gilliam/hypervisor/integration/testbed"
	"github.com/gilliam/hypervisor/server"
	"github.com/gilliam/hypervisor/server/proc"
)

// An app writes numbered lines as fast as it can while its daemon is killed again
// and again: every line is in its log once, in order.
func TestLogIntegrity(t *testing.T) {
	binary, err := crashable()
	must(t, err)
	testbed.Leaves(t)
	d := newDaemon(t, t.TempDir(), portRange(), "--log-size", "512M", "--log-rate", "4G", "--grace", "60s")
	d.binary = binary
	d.start()
	p := d.create(proc.Request{Command: proc.Shell(`trap 'end=1' TERM; n=0; while [ -z "$end" ]; do echo $((n++)); done`)})
	d.until(p.ID, "running", func(p proc.Proc) bool { return p.State == proc.Running })
	const kills = 50
	for range kills {
		d.kill()
		d.start()
	}
	if p := d.stopProc(p.ID, ""); p.State != proc.Done {
		t.Errorf("got %+v", p)
	}
	res, err := d.send(t.Context(), http.MethodGet, "/v1/procs/"+p.ID+"/logs", nil)
	must(t, err)
	defer res.Body.Close()
	lines := bufio.NewScanner(res.Body)
	n := 0
	for ; lines.Scan(); n++ {
		if lines.Text() != fmt.Sprint(n) {
			t.Fatalf("line %d is %q", n, lines.Text())
		}
	}
	must(t, lines.Err())
	if n < 1000 {
		t.Errorf("only %d lines", n)
	}
	t.Logf("%d lines through %d kills", n, kills)
	d.remove(p.ID)
}

// Many short procs, each with an exit status of its own, go through a daemon that
// is killed at random: each is reported with its own.
func TestExitIntegrity(t *testing.T) {
	binary, err := crashable()
	must(t, err)
	testbed.Leaves(t)
	d := newDaemon(t, t.TempDir(), portRange(), "--keep-ended", "5000", "--grace", "1s")
	d.binary = binary
	d.start()
	const procs = 1000
	var mu sync.RWMutex // held for reading while the daemon is asked, for writing while it is started
	kills := d.killAtRandom(t, &mu, func() {
		var clients sync.WaitGroup
		numbers := make(chan int)
		for range 12 {
			clients.Go(func() {
				for n := range numbers {
					short(t, d, &mu, n)
				}
			})
		}
		for n := range procs {
			numbers <- n
		}
		close(numbers)
		clients.Wait()
	})
	found := map[string]bool{}
	for _, p := range d.list("") {
		if found[p.Name] {
			t.Errorf("%s is there twice", p.Name)
		}
		found[p.Name] = true
		var n int
		fmt.Sscanf(p.Name, "n%d", &n)
		p = d.wait(p.ID)
		if want := n % 256; p.ExitCode == nil || *p.ExitCode != want || (p.State == proc.Done) != (want == 0) || p.Started == nil || p.Ended == nil {
			t.Errorf("%s: got %+v", p.Name, p)
		}
	}
	if len(found) != procs {
		t.Errorf("%d procs, want %d", len(found), procs)
	}
	t.Logf("%d procs through %d kills", len(found), kills)
}

// killAtRandom calls f, and meanwhile kills the daemon in the middle of whatever it
// does, again and again. It returns how often.
func (d *daemon) killAtRandom(t *testing.T, mu *sync.RWMutex, f func()) (kills int) {
	ctx, cancel := context.WithCancel(t.Context())
	var killer sync.WaitGroup
	killer.Go(func() {
		for {
			wait := time.NewTimer(time.Duration(300+rand.IntN(1200)) * time.Millisecond)
			select {
			case <-ctx.Done():
				wait.Stop()
				return
			case <-wait.C:
			}
			d.cmd.Process.Kill()
			<-d.exited
			func() {
				mu.Lock()
				defer mu.Unlock() // though the start may end this goroutine
				d.start()
			}()
			kills++
		}
	})
	f()
	cancel()
	killer.Wait()
	return kills
}

// short makes proc n and waits for its end, whatever becomes of the daemon.
func short(t *testing.T, d *daemon, mu *sync.RWMutex, n int) {
	r := proc.Request{App: "exit", Name: fmt.Sprint("n", n), Command: proc.Exec("/bin/sh", "-c", fmt.Sprint("exit ", n%256))}
	ask := func(method, path string, body any) answer {
		mu.RLock()
		defer mu.RUnlock()
		return d.do(method, path, body)
	}
	var id string
	unanswered := false
	ended := testbed.Eventually(3*time.Minute, func() bool {
		if id != "" {
			a := ask(http.MethodGet, "/v1/procs/"+id, nil)
			return a.err == nil && decode[proc.Proc](t, a).State.Ended()
		}
		if unanswered { // it may be there all the same
			a := ask(http.MethodGet, "/v1/procs?app=exit", nil)
			if a.err != nil {
				return false
			}
			for _, p := range decode[server.ProcList](t, a).Procs {
				if p.Name == r.Name {
					id = p.ID
					return false
				}
			}
		}
		if a := ask(http.MethodPost, "/v1/procs", r); a.err == nil && a.status == http.StatusCreated {
			id = decode[proc.Proc](t, a).ID
		} else if unanswered = a.err != nil; !unanswered {
			t.Errorf("%s: %s", r.Name, a)
			return true
		}
		return false
	})
	if !ended {
		t.Errorf("%s has not ended", r.Name)
	}
}
