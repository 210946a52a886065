package proc

import (
	"path/filepath"
	"time"

	"github.com/gilliam/hypervisor/isolate"
)

// The disk of the layers is looked at as often as it could fill up at this rate, within
// these bounds: nobody tells when a file system does.
const (
	fillRate   = 1 << 30 // bytes a second
	lookSoon   = 250 * time.Millisecond
	lookSeldom = 10 * time.Second

	trimEvery = 10 * time.Minute
)

// heldBack tells whether layers must not grow any more, when it was so before, with so
// much of the disk free: from half of the reserve on, until three quarters are free.
func (r Reserve) heldBack(before bool, free, size int64) bool {
	reserve := r.of(size)
	if before {
		return free < reserve*3/4
	}
	return free < reserve/2
}

// nextLook is how long it is until the disk is looked at again.
func (r Reserve) nextLook(free, size int64) time.Duration {
	left := max(0, free-r.of(size)/2)
	return min(lookSeldom, max(lookSoon, time.Duration(float64(left)/fillRate*float64(time.Second))))
}

// watchSpace keeps the layers that there are from filling the disk, until procs are
// left or the Manager is closed.
func (m *Manager) watchSpace() {
	layers := filepath.Join(m.cfg.StateDir, "layers")
	held := true // maybe, by a hypervisor before us
	var trimmed time.Time
	for {
		wait := lookSeldom
		s, err := m.cfg.Layers.Space()
		if err == nil {
			was := held
			held = m.cfg.Reserve.heldBack(held, s.Free, s.Size)
			if held && !was || time.Since(trimmed) > trimEvery {
				if err := isolate.Trim(layers); err != nil {
					m.log.Warn("give back what apps have deleted", "err", err)
				}
				trimmed = time.Now()
			}
			if held || was { // those that have come meanwhile, too
				err = isolate.HoldBack(layers, held)
			}
			m.tellHeld(held)
			wait = m.cfg.Reserve.nextLook(s.Free, s.Size)
		}
		if err != nil {
			m.log.Error("watch the disk of the layers", "err", err)
		}
		timer := time.NewTimer(wait)
		select {
		case <-m.ending:
			timer.Stop()
			return
		case <-timer.C:
		}
	}
}

// tellHeld records whether layers are held back, and logs a change.
func (m *Manager) tellHeld(held bool) {
	m.mu.Lock()
	changed := m.counts.HeldBack != held
	m.counts.HeldBack = held
	m.mu.Unlock()
	switch {
	case changed && held:
		m.log.Warn("the disk is almost full: no app may take more of it")
	case changed:
		m.log.Info("the disk has room again: apps may write")
	}
}
