package proc

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/gilliam/hypervisor/isolate"
)

// get finds a proc by its id.
func (m *Manager) get(id string) (*instance, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	i, ok := m.procs[id]
	if !ok {
		return nil, ErrNotExist
	}
	return i, nil
}

// Get returns one proc as it is now, or [ErrNotExist].
func (m *Manager) Get(id string) (Proc, error) {
	i, err := m.get(id)
	if err != nil {
		return Proc{}, err
	}
	p := i.snapshot()
	p.Callbacks = m.callbacksOf(p)
	return p, nil
}

// List returns every proc as it is now, the oldest first.
func (m *Manager) List() []Proc {
	m.mu.Lock()
	all := slices.Collect(maps.Values(m.procs))
	m.mu.Unlock()
	procs := make([]Proc, len(all))
	for n, i := range all {
		procs[n] = i.snapshot()
	}
	slices.SortFunc(procs, func(a, b Proc) int {
		if c := a.Created.Compare(b.Created); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	return procs
}

// Wait returns the proc once it is as is says, which is asked at each change and
// must do no more than look, or as it is when ctx ends, with ctx's error.
func (m *Manager) Wait(ctx context.Context, id string, is func(Proc) bool) (Proc, error) {
	i, err := m.get(id)
	if err != nil {
		return Proc{}, err
	}
	return i.waitFor(ctx, is)
}

// Usage reads what a running proc uses. It returns [ErrNotRunning] for one
// that is not.
func (m *Manager) Usage(id string) (isolate.Usage, error) {
	i, err := m.get(id)
	if err != nil {
		return isolate.Usage{}, err
	}
	box := i.sandbox()
	if box == nil {
		return isolate.Usage{}, fmt.Errorf("%w: it is in state %s", ErrNotRunning, i.snapshot().State)
	}
	return box.Usage()
}
