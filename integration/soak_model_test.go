//go:build integration

package integration

import (
	"fmt"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/gilliam/hypervisor/integration/testbed"
	"github.com/gilliam/hypervisor/isolate"
	"github.com/gilliam/hypervisor/server/proc"
)

// Whether something was done. It is possible when the daemon died before it
// answered.
type whether int

const (
	no whether = iota
	possible
	certain
)

// A model is what is known of one proc, and what must be true of it.
type model struct {
	kind
	name    string
	id      string  // "" until it is known
	made    whether // a POST that was answered must be there
	stopped whether // somebody asked for its end
	removed whether
	killed  int // how often its sandbox-init or its app was killed

	last  proc.Proc // as it was seen last
	ended bool      // and then it had ended
	read  bool      // its whole log was read after its end
}

// those are the procs of which the daemon has told, in the order of their names,
// that are as f says.
func (s *soak) those(f func(*model) bool) (found []*model) {
	for _, name := range slices.Sorted(maps.Keys(s.models)) {
		if m := s.models[name]; m.id != "" && f(m) {
			found = append(found, m)
		}
	}
	return found
}

// check compares everything with the models.
func (s *soak) check() {
	s.t.Helper()
	listed := map[string]proc.Proc{}
	ports := map[int]string{}
	for _, p := range s.list("") {
		if _, twice := listed[p.Name]; twice {
			s.t.Errorf("%s is there twice", p.Name)
		}
		listed[p.Name] = p
		if other, taken := ports[p.Port]; taken && !p.State.Ended() {
			s.t.Errorf("%s and %s have port %d", p.Name, other, p.Port)
		}
		if !p.State.Ended() {
			ports[p.Port] = p.Name
		}
	}
	boxes, err := isolate.Sandboxes() // after the list: what has ended there is gone here
	must(s.t, err)
	for name, m := range maps.Clone(s.models) {
		p, there := listed[name]
		delete(listed, name)
		if !s.exists(m, there) {
			delete(s.models, name)
			if m.id != "" {
				s.gone[m.id] = m
				s.nothingOf(m, boxes)
			}
			continue
		}
		s.compare(m, p)
		m.last, m.id = p, p.ID
		if p.State.Ended() && boxes[p.ID] != "" {
			s.t.Errorf("%s has ended, and its sandbox is there: %+v", name, p)
		}
		if p.State == proc.Running {
			s.runs(m)
		}
	}
	for name, p := range listed {
		s.t.Errorf("nobody asked for %s: %+v", name, p)
	}
	for id, owner := range boxes {
		if m := s.gone[id]; m != nil && owner == s.stateDir {
			s.t.Errorf("%s was removed, and its sandbox is there", m.name)
		}
	}
	if leaks := s.findings().Leaks; len(leaks) > 0 {
		s.t.Errorf("leaks: %+v", leaks)
	}
}

// exists tells whether the proc is there, as it may.
func (s *soak) exists(m *model, there bool) bool {
	switch {
	case there && m.removed == certain:
		s.t.Errorf("%s was removed and is there", m.name)
	case !there && m.made == certain && m.removed == no:
		s.t.Errorf("%s is lost: it was %+v", m.name, m.last)
	case there:
		m.made = certain // recorded, whether anybody was told or not
	}
	return there
}

// nothingOf fails the test when something of a removed proc is there.
func (s *soak) nothingOf(m *model, boxes map[string]string) {
	s.t.Helper()
	if _, there := boxes[m.id]; there {
		s.t.Errorf("%s was removed, and its sandbox is there", m.name)
	}
	for _, dir := range []string{"procs/", "procs/.trash-", "layers/"} {
		if _, err := os.Lstat(s.stateDir + "/" + dir + m.id); err == nil {
			s.t.Errorf("%s was removed, and %s is there", m.name, dir)
		}
	}
}

// compare checks that what the daemon says of a proc can have come of what it said
// before.
func (s *soak) compare(m *model, p proc.Proc) {
	s.t.Helper()
	was := m.last
	if m.id == "" {
		was = p
	}
	if p.ID != was.ID || p.Port != was.Port || !p.Created.Equal(was.Created) || p.Seq < was.Seq || p.Restarts < was.Restarts {
		s.t.Errorf("%s: got %+v, was %+v", m.name, p, was)
	}
	if p.State == proc.Running && was.State == proc.Running && p.Restarts == was.Restarts && p.PID != was.PID {
		s.t.Errorf("%s: process %d has become %d", m.name, was.PID, p.PID)
	}
	if m.ended && (p.State != was.State || !p.Ended.Equal(*was.Ended) || p.Reason != was.Reason || code(p) != code(was) || p.Seq != was.Seq) {
		s.t.Errorf("%s had ended: got %+v, was %+v", m.name, p, was)
	}
	if m.ended = p.State.Ended(); !m.ended {
		return
	}
	if p.Ended == nil || p.PID != 0 || (p.State == proc.Done) != (code(p) == 0 && p.Reason == "") || !m.mayEnd(p) {
		s.t.Errorf("%s (%s, stopped: %d, killed %d times) has ended as %+v", m.name, m.what, m.stopped, m.killed, p)
	}
}

// none is the exit code of what never ran.
const none = -1

func code(p proc.Proc) int {
	if p.ExitCode == nil {
		return none
	}
	return *p.ExitCode
}

// mayEnd tells whether a proc of this kind, with what happened to it, ends so.
func (m *model) mayEnd(p proc.Proc) bool {
	switch c := code(p); {
	case m.ends && c == m.code && p.Signal == "" && p.Restarts >= m.restarts:
		return true
	case m.stopped != no && (c == none || c == 0 || c == 143 || c == 137 || c == m.code): // before it ran, by its trap, by SIGTERM, by SIGKILL, by itself
		return true
	case m.killed > 0 && c == 137 && p.Signal == "SIGKILL" && !m.again:
		return true
	}
	return false
}

// runs checks that a proc that is said to run does, or is soon said to have ended.
func (s *soak) runs(m *model) {
	s.t.Helper()
	p := m.last
	if isInitOf(p) {
		return
	}
	changed := testbed.Eventually(patience, func() bool {
		q, there := s.now(m)
		return !there || q.State != proc.Running || q.Restarts > p.Restarts
	})
	if !changed {
		s.t.Errorf("%s is said to run, and process %d is not its sandbox-init: %+v", m.name, p.PID, p)
	}
}

// isInitOf tells whether the process that a proc is said to be is in its cgroup.
func isInitOf(p proc.Proc) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", p.PID))
	return err == nil && strings.Contains(string(b), "/"+p.ID+"\n")
}

// readLog checks the whole log of a proc: each start of it, in order, with all that
// it wrote.
func (s *soak) readLog(m *model) {
	s.t.Helper()
	if m.read {
		return
	}
	p, there := s.now(m)
	if !there || m.removed != no {
		return
	}
	lines := s.logs(m.id, "")
	s.deep++
	starts, n := 0, 0
	for _, line := range lines {
		switch line {
		case "stdout: start":
			starts, n = starts+1, 0
		case "stdout: end", "stdout: bye":
		default:
			if line != fmt.Sprint("stdout: ", n) {
				s.t.Errorf("%s: line %q after %d numbers", m.name, line, n)
				return
			}
			n++
		}
	}
	q := s.get(m.id)
	if starts > q.Restarts+1 {
		s.t.Errorf("%s was started %d times: %+v", m.name, starts, q)
	}
	if !p.State.Ended() {
		return
	}
	m.read = true
	// Of what ended by itself, nothing may lack.
	if m.stopped == no && m.killed == 0 && starts != p.Restarts+1 {
		s.t.Errorf("%s wrote %q; %+v", m.name, lines, p)
	}
	if m.stopped == no && m.killed == 0 && m.line != "" && lines[len(lines)-1] != "stdout: "+m.line {
		s.t.Errorf("%s wrote %q, want %q at the end", m.name, lines, m.line)
	}
}

// toldOf checks that the receiver was told of every state of every proc.
func (b *mailbox) toldOf(t *testing.T, procs map[string]*model) {
	t.Helper()
	heard := map[string][]delivery{}
	for _, d := range b.taken() {
		heard[d.proc] = append(heard[d.proc], d)
	}
	for id, m := range procs {
		one := &mailbox{tb: t, took: heard[id]}
		states := one.states(t, id)
		if len(states) < 2 || states[0] != "init" || !proc.State(states[len(states)-1]).Ended() {
			t.Errorf("%s: the receiver was told %q", m.name, states)
		}
	}
}

// soonEnded waits until what must end by itself has.
func (s *soak) soonEnded(m *model) {
	s.t.Helper()
	ended := testbed.Eventually(patience, func() bool {
		p, there := s.now(m)
		return !there || p.State.Ended()
	})
	if !ended {
		s.t.Errorf("%s has not ended: it was %+v", m.name, m.last)
	}
}

// now is the proc as it is, unless it is gone, as it may be when somebody asked
// for that.
func (s *soak) now(m *model) (p proc.Proc, there bool) {
	s.t.Helper()
	a := s.do(http.MethodGet, "/v1/procs/"+m.id, nil)
	if a.status == http.StatusNotFound && m.removed != no {
		return p, false
	}
	if a.status != http.StatusOK {
		s.t.Fatalf("%s: got %s", m.name, a)
	}
	return decode[proc.Proc](s.t, a), true
}
