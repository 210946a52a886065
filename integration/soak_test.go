//go:build integration

package integration

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gilliam/hypervisor/integration/testbed"
	"github.com/gilliam/hypervisor/server"
	"github.com/gilliam/hypervisor/server/proc"
)

var (
	soakFor  = flag.Duration("soak", 35*time.Second, "how long TestSoak goes on")
	soakSeed = flag.Uint64("seed", 0, "replay the choices of TestSoak with this seed; 0: a new one")
)

// soakProcs is how many procs the soak has at a time: fewer than there are ports.
const soakProcs = 24

// A soak does at random what clients, operators and accidents do, and keeps a
// model of what must be true after it. Its choices follow from the seed as far as
// the daemon's answers do.
type soak struct {
	*daemon
	t        *testing.T
	r        *rand.Rand
	receiver *mailbox
	models   map[string]*model // by the proc's name, until it is gone
	gone     map[string]*model // by id: what was removed
	drained  bool
	made     int // procs that were asked for

	did     map[string]int // operations and accidents
	slowest time.Duration  // of the daemon's starts after an accident
	deep    int            // logs that were read to their end
}

// Clients make, stop, remove, follow and check procs, and operators drain and
// scrape, while the daemon, sandbox-inits and apps are killed in the middle of
// that. After every step what the daemon says, and what is on the machine, is what
// the model says.
func TestSoak(t *testing.T) {
	seed := *soakSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("replay with -args -soak=%v -seed=%d", *soakFor, seed)
	testbed.Leaves(t)
	s := &soak{
		t: t, r: rand.New(rand.NewPCG(seed, 0)), receiver: newMailbox(t), did: map[string]int{},
		models: map[string]*model{}, gone: map[string]*model{},
		daemon: newDaemon(t, t.TempDir(), portRange(), "--grace", "1s", "--restart-wait", "10ms", "--restart-wait-max", "200ms",
			"--keep-ended", "5000", "--stop-on-exit=false", "--allow-net", "127.0.0.0/8", "--run-dir", filepath.Join(t.TempDir(), "run")),
	}
	s.start()
	defer s.stopAllIfFailed()
	s.settle() // what is made once is there
	before := s.measure(t)
	steps := 0
	for end := time.Now().Add(*soakFor); time.Now().Before(end) && !t.Failed(); steps++ {
		s.step()
	}
	if t.Failed() {
		return
	}
	s.finish()
	after := s.noMore(t, before, measured{descriptors: 8, goroutines: 8, threads: 40, rss: 128 << 20, memcgs: 200, netns: 16, userns: 100})
	crashes := 0
	for what, n := range s.did {
		if strings.HasPrefix(what, "kill daemon") {
			crashes += n
		}
	}
	t.Logf("%d steps, %d procs, %d logs read; %d crashes of the daemon survived, the slowest start %v; leaks: 0\n%s\nat the start %v\nat the end   %v",
		steps, s.made, s.deep, crashes, s.slowest.Round(time.Millisecond), table(s.did), before, after)
}

// table is a line for each thing that was done, the most frequent first.
func table(did map[string]int) (text string) {
	var names []string
	for name := range did {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int { return did[b] - did[a] })
	for _, name := range names {
		text += fmt.Sprintf("%7d %s\n", did[name], name)
	}
	return text
}

// stopAllIfFailed keeps a soak that failed half-way from leaving its procs on the
// machine: a daemon that stops them when it ends takes them over.
func (s *soak) stopAllIfFailed() {
	if !s.t.Failed() {
		return
	}
	select {
	case <-s.exited:
	default:
		s.daemon.kill()
	}
	s.args = append(s.args, "--stop-on-exit")
	s.start()
}

// settle runs one proc to its end and forgets it.
func (s *soak) settle() {
	s.t.Helper()
	p := s.run(proc.Request{Command: proc.Shell("true"), Callback: s.receiver.url()})
	s.remove(p.ID)
	s.allTold()
}

// step lets a few clients do something at once, and perhaps an accident happen
// meanwhile, and checks what is to be seen afterwards.
func (s *soak) step() {
	s.t.Helper()
	acts := s.choose()
	s.mayBe(acts)
	done := make([]func(), len(acts))
	var clients sync.WaitGroup
	for n, a := range acts {
		clients.Go(func() { done[n] = a.do() })
	}
	restart := s.accident()
	clients.Wait()
	if restart {
		start := time.Now()
		s.http.CloseIdleConnections()
		s.start()
		s.slowest = max(s.slowest, time.Since(start))
	}
	for n, learn := range done {
		s.did[acts[n].what]++
		if learn != nil {
			learn()
		}
	}
	s.check()
}

// finish removes every proc and checks that nothing of any is left, and that the
// receiver was told of all.
func (s *soak) finish() {
	s.t.Helper()
	s.want(http.StatusNoContent, http.MethodDelete, "/v1/drain", nil, nil)
	s.drained = false
	for _, m := range s.those(func(*model) bool { return true }) {
		if m.ends {
			s.soonEnded(m)
		}
		s.readLog(m)
	}
	var all sync.WaitGroup
	for _, m := range s.those(func(*model) bool { return true }) {
		all.Go(func() { s.removed(m) })
	}
	all.Wait()
	s.check()
	if left := s.list(""); len(left) > 0 {
		s.t.Errorf("there is %+v", left)
	}
	s.allTold()
	s.receiver.toldOf(s.t, s.gone)
	s.noFolders()
	s.nothingLeftBut(s.t)
	if aside, err := filepath.Glob(filepath.Join(s.stateDir, "set-aside/*")); err != nil || len(aside) > 0 {
		s.t.Errorf("set aside: %q %v", aside, err)
	}
	for _, dir := range []string{s.stateDir + "/outbox", s.runDir() + "/ports", s.runDir() + "/ids"} {
		left, err := os.ReadDir(dir)
		must(s.t, err)
		for _, e := range left {
			if e.Name() != "lock" {
				s.t.Errorf("%s/%s is left", dir, e.Name())
			}
		}
	}
}

func (s *soak) removed(m *model) {
	if a := s.do(http.MethodDelete, "/v1/procs/"+m.id+"?grace=0s", nil); a.status != http.StatusNoContent && (a.status != http.StatusNotFound || m.removed == no) {
		s.t.Errorf("remove %s: %s", m.name, a)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	m.removed, m.stopped = certain, certain
}

// findings is what the doctor says.
func (s *soak) findings() (f server.Findings) {
	s.t.Helper()
	s.want(http.StatusOK, http.MethodGet, "/v1/doctor", nil, &f)
	return f
}
