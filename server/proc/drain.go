package proc

import (
	"context"
	"slices"
)

// Drain refuses new procs from now on and stops all that there are, the youngest
// first, each with its own grace. It returns when they have ended, or ctx has.
func (m *Manager) Drain(ctx context.Context) error {
	m.refuse(true)
	procs := m.List()
	slices.Reverse(procs)
	for _, p := range procs {
		if i, err := m.get(p.ID); err == nil {
			m.stop(i, stop{Grace: -1, Why: "stopped, since the hypervisor was drained"})
		}
	}
	for _, p := range procs {
		if _, err := m.Wait(ctx, p.ID, Proc.HasEnded); ctx.Err() != nil {
			return err
		}
	}
	return nil
}

// Undrain takes new procs again.
func (m *Manager) Undrain() { m.refuse(false) }

func (m *Manager) refuse(draining bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.draining = draining
	m.log.Info("drain", "draining", draining)
}
