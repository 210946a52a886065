package proc

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/gilliam/hypervisor/isolate"
	"github.com/gilliam/hypervisor/server/proc/lease"
)

// A Leak is something of ours on this machine that no proc has any more. What is
// another hypervisor's, or bears no mark of ours, is none.
type Leak struct {
	Kind  string `json:"kind"` // one of LeakKinds
	Name  string `json:"name"`
	Error string `json:"error,omitempty"` // why it could not be removed
}

// LeakKinds are what can be left behind: a sandbox with its cgroup and processes,
// a writable layer, a leased port, a leased range of ids, a removed proc's folder,
// a volume half made or half removed, a template of which nobody goes on making a
// version, and what its build had beside it.
var LeakKinds = []string{"sandbox", "layer", "port", "ids", "folder", "volume", "template", "build"}

// Leftovers finds and removes what somebody has begun and was killed at.
type Leftovers interface {
	Leftovers() ([]string, error)

	// RemoveLeftover leaves alone what somebody works on.
	RemoveLeftover(name string) error
}

// leftovers are those beside procs, by the kind of what leaks.
func (m *Manager) leftovers() map[string]Leftovers {
	all := map[string]Leftovers{"volume": m.cfg.Volumes, "template": m.cfg.Templates}
	if m.cfg.Builds != nil {
		all["build"] = m.cfg.Builds
	}
	return all
}

// Audit compares what the records say with what is on this machine, and lists
// what nobody has. With repair it removes that.
func (m *Manager) Audit(repair bool) ([]Leak, error) {
	leaks, err := m.findLeaks()
	if err != nil {
		return nil, err
	}
	// What is there twice, with a look at the records after each, is no proc's that
	// was just coming or going.
	again, err := m.findLeaks()
	if err != nil {
		return nil, err
	}
	leaks = slices.DeleteFunc(leaks, func(l Leak) bool { return !slices.Contains(again, l) })
	if repair {
		for n := range leaks {
			if err := m.mend(leaks[n]); err != nil {
				leaks[n].Error = err.Error()
			}
			m.log.Warn("leak", "kind", leaks[n].Kind, "name", leaks[n].Name, "err", leaks[n].Error)
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.leaked = make(map[string]int)
	for _, l := range leaks {
		m.leaked[l.Kind]++
	}
	return leaks, nil
}

// findLeaks lists what is there, and leaves out what a proc has: the records are
// looked at last.
func (m *Manager) findLeaks() ([]Leak, error) {
	var leaks []Leak
	boxes, err := isolate.Sandboxes()
	if err != nil {
		return nil, err
	}
	for id, owner := range boxes {
		if owner == m.cfg.StateDir {
			leaks = append(leaks, Leak{Kind: "sandbox", Name: id})
		}
	}
	layers, err := m.cfg.Layers.List()
	if err != nil {
		return nil, err
	}
	for _, id := range layers {
		leaks = append(leaks, Leak{Kind: "layer", Name: id})
	}
	entries, err := os.ReadDir(m.procsDir())
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if id, ok := strings.CutPrefix(e.Name(), trashPrefix); ok {
			leaks = append(leaks, Leak{Kind: "folder", Name: id})
		}
	}
	for kind, of := range m.leftovers() {
		names, err := of.Leftovers()
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			leaks = append(leaks, Leak{Kind: kind, Name: name})
		}
	}
	for kind, pool := range m.pools() {
		held, err := pool.Held()
		if err != nil {
			return nil, err
		}
		for n, id := range held {
			leaks = append(leaks, Leak{Kind: kind, Name: fmt.Sprintf("%d %s", n, id)})
		}
	}
	leaks = slices.DeleteFunc(leaks, m.has)
	slices.SortFunc(leaks, func(a, b Leak) int { return strings.Compare(a.Kind+a.Name, b.Kind+b.Name) })
	return leaks, nil
}

// pools are the pools of numbers, by the kind of what leaks from them.
func (m *Manager) pools() map[string]*lease.Pool {
	return map[string]*lease.Pool{"port": m.ports, "ids": m.ids}
}

// has tells whether a proc that is coming, living or going has what was found.
func (m *Manager) has(l Leak) bool {
	id := l.Name
	if l.Kind == "port" || l.Kind == "ids" {
		_, id, _ = strings.Cut(id, " ")
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	i, ok := m.procs[id]
	if !ok || m.going[id] {
		return m.coming[id] || m.going[id]
	}
	select {
	case <-i.over:
		return false
	default:
		return true
	}
}

// mend removes a leak.
func (m *Manager) mend(l Leak) error {
	switch l.Kind {
	case "sandbox":
		return isolate.RemoveCgroup(l.Name)
	case "layer":
		return m.cfg.Layers.Remove(l.Name)
	case "folder":
		return os.RemoveAll(filepath.Join(m.procsDir(), trashPrefix+l.Name))
	}
	if of, ok := m.leftovers()[l.Kind]; ok {
		return of.RemoveLeftover(l.Name)
	}
	pool, ok := m.pools()[l.Kind]
	var n int
	var id string
	if _, err := fmt.Sscan(l.Name, &n, &id); err != nil || !ok {
		return errors.New("bug: no such kind of leak")
	}
	return pool.Release(n, id)
}

// keepLedger audits until procs are left or the Manager is closed.
func (m *Manager) keepLedger() {
	tick := time.NewTicker(m.cfg.AuditEvery)
	defer tick.Stop()
	for {
		select {
		case <-m.ending:
			return
		case <-tick.C:
		}
		if _, err := m.Audit(true); err != nil {
			m.log.Error("audit", "err", err)
		}
	}
}
