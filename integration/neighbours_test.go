//go:build integration

package integration

import (
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/gilliam/hypervisor/server/proc"
)

// Two daemons side by side, with the same pool of ports, give no port and no id
// to two procs, and the end of one does not touch the other's.
func TestNeighbours(t *testing.T) {
	base := portRange()
	a := serveIn(t, t.TempDir(), base)
	b := serveIn(t, t.TempDir(), base)

	const each = 8
	type placed struct {
		d *daemon
		p proc.Proc
	}
	var all []placed
	for n := range each {
		for _, d := range []*daemon{a, b} {
			p := d.create(proc.Request{Name: fmt.Sprintf("web.%d", n), Command: proc.Exec("/bin/bash", "-c", "cat /proc/self/uid_map; exec sleep 1000")})
			all = append(all, placed{d, p})
		}
	}
	ports := map[int]bool{}
	var bases []int
	for _, x := range all {
		if x.p.Port < base || x.p.Port >= base+poolSize || ports[x.p.Port] {
			t.Errorf("port %d is given twice, or not of the pool", x.p.Port)
		}
		ports[x.p.Port] = true
		l, ok := x.d.follow(x.p.ID).next()
		f := strings.Fields(l.Text) // inside, outside, length
		if !ok || len(f) != 3 || f[0] != "0" || f[2] != "65536" {
			t.Fatalf("uid_map: got %q", l.Text)
		}
		n, err := strconv.Atoi(f[1])
		must(t, err)
		bases = append(bases, n)
	}
	slices.Sort(bases)
	for n := 1; n < len(bases); n++ {
		if bases[n]-bases[n-1] < 65536 {
			t.Errorf("the ids from %d and from %d on overlap", bases[n-1], bases[n])
		}
	}

	a.stop()
	if running := b.list("?state=running"); len(running) != each {
		t.Errorf("%d of the other's procs still run, want %d", len(running), each)
	}
	for range each { // what the first held is free for the second
		if p := b.create(proc.Request{Command: proc.Exec("/bin/sleep", "1000")}); p.Port == 0 {
			t.Errorf("no port: %+v", p)
		}
	}
}

// While daemons come and go, the procs of one that stays start all the same.
func TestNeighboursComeAndGo(t *testing.T) {
	runDir := filepath.Join(t.TempDir(), "run")
	stays := serve(t, "--run-dir", runDir)
	comes := newDaemon(t, t.TempDir(), portRange(), "--run-dir", runDir)
	for range 4 {
		comes.start()
		done := make(chan []proc.Proc, 1)
		// Owned by the loop, which receives from done.
		go func() {
			var procs []proc.Proc
			for range 5 {
				a := stays.do(http.MethodPost, "/v1/procs", proc.Request{App: "a", Name: "b", Command: proc.Exec("/bin/true")})
				procs = append(procs, decode[proc.Proc](t, a))
			}
			done <- procs
		}()
		comes.stop()
		for _, p := range soon(t, done, "five procs") {
			if p := stays.wait(p.ID); p.State != proc.Done {
				t.Errorf("got %+v", p)
			}
		}
	}
}

// A port that some other program listens on is not given out.
func TestPortInUse(t *testing.T) {
	base := portRange()
	d := newDaemon(t, t.TempDir(), base, "--max-procs", "2")
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(base)))
	must(t, err)
	d.start()
	t.Cleanup(func() { l.Close() })
	for range 3 {
		if p := d.run(proc.Request{Command: proc.Exec("/bin/true")}); p.State != proc.Done || p.Port != base+1 {
			t.Errorf("got %+v, want port %d", p, base+1)
		}
	}
}
