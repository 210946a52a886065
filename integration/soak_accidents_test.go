//go:build integration

package integration

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/gilliam/hypervisor/server/proc"
)

// accident happens while the clients are at it, or not. It tells whether the
// daemon is to be started again.
func (s *soak) accident() (restart bool) {
	s.t.Helper()
	n, wait := s.r.IntN(100), time.Duration(s.r.IntN(80))*time.Millisecond
	var victim *model
	if running := s.those(func(m *model) bool { return m.last.State == proc.Running }); len(running) > 0 {
		victim = running[s.r.IntN(len(running))]
	}
	if n >= 45 {
		return false
	}
	<-time.After(wait) // the moment of the accident
	switch {
	case n < 20:
		s.crash("kill daemon", nil, nil)
	case n < 24:
		s.crash("kill daemon and sandbox-init", victim, killInit)
	case n < 28:
		s.crash("kill daemon and app", victim, killApp)
	case n < 31:
		s.crash("kill daemon", nil, nil)
		s.launch()
		<-time.After(wait)
		s.crash("kill daemon while it starts", nil, nil)
	case n < 33:
		s.did["stop daemon"]++
		s.daemon.stop()
	case n < 38:
		s.hit("kill sandbox-init", victim, killInit)
		return false
	default:
		s.hit("kill app", victim, killApp)
		return false
	}
	return true
}

// crash kills the daemon and, while it is away, a proc of its.
func (s *soak) crash(what string, victim *model, kill func(*testing.T, proc.Proc) bool) {
	s.t.Helper()
	s.daemon.kill()
	s.did[what]++
	if victim != nil && kill(s.t, victim.last) {
		victim.killed++
	}
}

func (s *soak) hit(what string, victim *model, kill func(*testing.T, proc.Proc) bool) {
	s.t.Helper()
	if victim != nil && kill(s.t, victim.last) {
		victim.killed++
		s.did[what]++
	}
}

// killInit kills a proc's sandbox-init, and killApp its program. They tell whether
// there was one: the handle is of the process that was looked at, whatever has its
// number by now.
func killInit(t *testing.T, p proc.Proc) bool {
	t.Helper()
	return killOf(t, p, p.PID)
}

func killApp(t *testing.T, p proc.Proc) bool {
	t.Helper()
	var child int
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", p.PID, p.PID))
	if _, scanErr := fmt.Sscan(string(b), &child); err != nil || scanErr != nil {
		return false
	}
	return killOf(t, p, child)
}

func killOf(t *testing.T, p proc.Proc, pid int) bool {
	t.Helper()
	process, err := os.FindProcess(pid)
	if err != nil {
		return false
	}
	defer process.Release()
	p.PID = pid
	return isInitOf(p) && process.Kill() == nil
}
