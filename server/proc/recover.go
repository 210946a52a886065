package proc

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gilliam/hypervisor/isolate"
)

// recover reads the records of a state folder. Sandboxes end with their
// hypervisor, so that a proc that had not ended has now; what is left of it is
// removed before it is told. What cannot be read is set aside, never deleted.
func (m *Manager) recover() error {
	entries, err := os.ReadDir(m.procsDir())
	if err != nil {
		return err
	}
	for _, e := range entries {
		dir := filepath.Join(m.procsDir(), e.Name())
		if strings.HasPrefix(e.Name(), trashPrefix) {
			if err := os.RemoveAll(dir); err != nil {
				m.log.Warn("remove trash", "path", dir, "err", err)
			}
			continue
		}
		p, err := readRecord(dir)
		if err != nil {
			m.setAside(dir, err)
			continue
		}
		m.adopt(p)
	}
	return m.removeOrphans()
}

// adopt takes over one recorded proc.
func (m *Manager) adopt(p Proc) {
	i := m.instanceOf(p)
	m.procs[p.ID] = i
	if p.State.Ended() {
		return
	}
	i.log.Warn("proc ended with its hypervisor", "state", p.State)
	if err := errors.Join(isolate.RemoveCgroup(p.ID), m.cfg.Layers.Remove(p.ID)); err != nil {
		i.log.Error("proc left something behind", "err", err)
	}
	now := time.Now().UTC()
	err := i.to(Fail, func(p *Proc) {
		p.Ended, p.PID = &now, 0
		p.Reason = "the hypervisor was stopped or killed while this proc lived"
	})
	if err != nil {
		i.log.Error("state", "err", err)
	}
}

// setAside moves a folder that is no proc's out of the way.
func (m *Manager) setAside(dir string, why error) {
	aside := filepath.Join(m.cfg.StateDir, "set-aside")
	target := filepath.Join(aside, fmt.Sprintf("%s.%d", filepath.Base(dir), time.Now().UnixNano()))
	err := errors.Join(os.MkdirAll(aside, 0o700), os.Rename(dir, target))
	m.log.Error("set aside what is not a proc's record", "path", dir, "to", target, "why", why, "err", err)
}

// removeOrphans removes layers whose proc is gone or has ended.
func (m *Manager) removeOrphans() error {
	layers, err := m.cfg.Layers.List()
	if err != nil {
		return err
	}
	for _, id := range layers {
		if err := m.cfg.Layers.Remove(id); err != nil {
			m.log.Error("remove orphaned layer", "layer", id, "err", err)
			continue
		}
		m.log.Warn("removed orphaned layer", "layer", id)
	}
	return nil
}
