package proc

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gilliam/hypervisor/isolate"
	"github.com/gilliam/hypervisor/server/proc/durable"
	"github.com/gilliam/hypervisor/server/proc/lease"
)

// recover reads the records of a state folder, takes over what runs, and makes
// every proc that has not ended go on from where it was. What cannot be read is
// set aside, never deleted.
func (m *Manager) recover() error {
	live, err := m.readRecords()
	if err != nil {
		return err
	}
	if err := m.sweep(); err != nil {
		return err
	}
	var adopting sync.WaitGroup
	for _, i := range live {
		adopting.Go(m.guarded(i.adopt))
	}
	adopting.Wait()
	if err := m.removeOrphans(live); err != nil {
		return err
	}
	// Owned by the Manager: ends with it; Close waits for it.
	m.background.Go(m.guarded(m.keepLedger))
	m.background.Go(m.guarded(m.watchSpace))
	for _, i := range live {
		// Owned by the Manager: ends when the proc has; Close waits for it.
		m.background.Go(func() {
			i.live()
			m.prune()
		})
		if s := i.recorded().Stop; s != nil {
			i.cancelBoot()
			left := due(s.At.Add(s.Grace), time.Now(), s.Grace)
			m.background.Go(m.guarded(func() { i.terminate(left) }))
		}
	}
	return nil
}

// readRecords makes an instance of every record and returns those of procs that
// have not ended.
func (m *Manager) readRecords() (live []*instance, err error) {
	entries, err := os.ReadDir(m.procsDir())
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		dir := filepath.Join(m.procsDir(), e.Name())
		if strings.HasPrefix(e.Name(), trashPrefix) {
			if err := os.RemoveAll(dir); err != nil {
				m.log.Warn("remove trash", "path", dir, "err", err)
			}
			continue
		}
		removeTemps(dir)
		if unix.Rmdir(dir) == nil {
			continue // empty: it was not recorded yet
		}
		r, err := readRecord(dir)
		if err != nil {
			m.setAside(dir, err)
			continue
		}
		i := m.instanceOf(r)
		m.procs[r.Proc.ID] = i
		i.tell(r) // it was killed before it could
		switch {
		case !r.Proc.State.Ended():
			live = append(live, i)
		case r.Stop != nil && r.Stop.Remove:
			if err := m.dispose(r.Proc.ID); err != nil {
				m.log.Error("remove", "proc", r.Proc.ID, "err", err)
			}
		}
	}
	return live, nil
}

// removeTemps removes the records that a hypervisor was writing when it was killed.
// What is no folder, or cannot be removed, is found out by who reads it.
func removeTemps(dir string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		if durable.IsTemp(e.Name()) {
			_ = os.Remove(filepath.Join(dir, e.Name()))
		}
	}
}

// sweep gives back the numbers of procs that have ended or are gone.
func (m *Manager) sweep() error {
	for _, pool := range []*lease.Pool{m.ports, m.ids} {
		held, err := pool.Held()
		if err != nil {
			return err
		}
		for n, id := range held {
			if i, ok := m.procs[id]; ok && !i.recorded().Proc.State.Ended() {
				continue
			}
			if err := pool.Release(n, id); err != nil {
				return err
			}
		}
	}
	return nil
}

// adopt takes over what there is of the proc's sandbox. When there is none, what
// is left of it is removed, and live goes on from there.
func (i *instance) adopt() {
	box, err := i.findSandbox()
	if err == nil {
		i.log.Info("taken over", "state", i.recorded().Proc.State, "pid", box.PID())
		i.setSandbox(box)
	} else if !errors.Is(err, isolate.ErrNeverStarted) {
		i.log.Error("sandbox cannot be taken over", "err", err)
	}
	claimed := i.claim()
	i.holdImage()
	if box != nil {
		if claimed != nil && box.PID() != 0 { // one that has ended may have given them back
			i.log.Error("a number of a running proc is taken", "err", claimed)
		}
		return
	}
	r := i.recorded()
	if err := errors.Join(isolate.RemoveCgroup(r.Proc.ID), i.m.cfg.Layers.Remove(r.Proc.ID)); err != nil {
		i.log.Error("proc left something behind", "err", err)
	}
	if claimed != nil {
		err := i.change(func(r *record) error {
			r.IDs, r.Proc.Port = nil, 0 // others are taken when it boots
			return nil
		})
		i.log.Warn("numbers are taken", "why", claimed, "err", err)
	}
}

// findSandbox finds the sandbox that was launched for the proc.
func (i *instance) findSandbox() (*isolate.Sandbox, error) {
	if s := i.recorded().Proc.State; s != Boot && s != Running {
		return nil, isolate.ErrNeverStarted
	}
	plan, err := i.launchedBy()
	if err != nil {
		return nil, err
	}
	// Not bounded by anything but the engine: to give up is to kill it.
	return i.m.cfg.Engine.Adopt(i.m.ctx, plan, i.keep())
}

// holdImage keeps the image that the proc was launched with, for its sandbox and
// for its restarts.
func (i *instance) holdImage() {
	p := i.recorded().Proc
	if p.ImageDigest != "" {
		i.setImage(i.m.cfg.Images.Hold(i.m.cfg.Images.Dir(p.ImageDigest), p.ID))
	}
	spec, err := readSpec(i.dir)
	if err != nil {
		return // not launched now, or what is wrong was said by who looked for the sandbox
	}
	i.m.cfg.Images.HoldLayers(append(spec.Lowers, spec.Template), p.ID)
	for _, b := range spec.Binds {
		if b.Target == appDir {
			i.setImage(i.m.cfg.Images.Hold(b.Source, p.ID))
		}
	}
	for _, f := range spec.FileSystems {
		i.setImage(i.m.cfg.Images.Hold(f.Image, p.ID))
	}
}

// launchedBy is what the proc's sandbox was launched by. Of one of before the machine
// was restarted there is nothing but word of how it ended, perhaps: its spec need not
// have come to the disk.
func (i *instance) launchedBy() (isolate.Plan, error) {
	r := i.recorded()
	spec, err := readSpec(i.dir)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return isolate.Plan{}, isolate.ErrNeverStarted
	case r.Boot != i.m.bootID:
		return isolate.PlanOfEnded(r.Proc.ID), nil
	case err != nil:
		return isolate.Plan{}, err
	}
	return isolate.NewPlan(spec, i.m.cfg.Engine.Host())
}

// claim makes sure that the numbers of the record are the proc's.
func (i *instance) claim() error {
	r := i.recorded()
	var err error
	if r.Proc.Port != 0 {
		err = i.m.ports.Claim(r.Proc.Port, r.Proc.ID)
	}
	if r.IDs != nil {
		err = errors.Join(err, i.m.ids.Claim(*r.IDs, r.Proc.ID))
	}
	return err
}

// asideDir is where goes what cannot be read.
func (m *Manager) asideDir() string { return filepath.Join(m.cfg.StateDir, "set-aside") }

// setAside moves a folder that is no proc's out of the way.
func (m *Manager) setAside(dir string, why error) {
	aside := m.asideDir()
	target := filepath.Join(aside, fmt.Sprintf("%s.%d", filepath.Base(dir), time.Now().UnixNano()))
	err := errors.Join(os.MkdirAll(aside, 0o700), os.Rename(dir, target))
	m.log.Error("set aside what is not a proc's record", "path", dir, "to", target, "why", why, "err", err)
}

// removeOrphans removes layers whose proc is gone or has ended.
func (m *Manager) removeOrphans(live []*instance) error {
	layers, err := m.cfg.Layers.List()
	if err != nil {
		return err
	}
	held := make(map[string]bool)
	for _, i := range live {
		held[i.recorded().Proc.ID] = true
	}
	for _, id := range layers {
		if held[id] {
			continue
		}
		if err := m.cfg.Layers.Remove(id); err != nil {
			m.log.Error("remove orphaned layer", "layer", id, "err", err)
			continue
		}
		m.log.Warn("removed orphaned layer", "layer", id)
	}
	return nil
}
