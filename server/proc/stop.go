package proc

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"
)

// termAt are the moments of a stop at which SIGTERM is sent, as the original
// did; SIGKILL follows at the end of the grace.
var termAt = []time.Duration{0, time.Second, 3 * time.Second}

// lastCallbacks is how long the callbacks under way have left after the end of
// the last proc.
const lastCallbacks = 2 * time.Second

// Stop ends a proc and returns it when it has ended; its record and log stay.
// A negative grace means the configured one. When ctx ends first the stop goes
// on by itself. Stopping a proc that has ended does nothing.
func (m *Manager) Stop(ctx context.Context, id string, grace time.Duration) (Proc, error) {
	i, err := m.get(id)
	if err != nil {
		return Proc{}, err
	}
	m.stop(i, grace)
	return i.wait(ctx, State.Ended)
}

// stop begins to end the proc.
func (m *Manager) stop(i *instance, grace time.Duration) {
	if grace < 0 {
		grace = m.cfg.Grace
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.p.State.Ended() {
		return
	}
	i.stopping = true
	i.cancelBoot()
	// Owned by the Manager: ends with the proc. Close waits for it; the proc's
	// own life, which has not ended, keeps that wait from being over already.
	m.background.Go(func() { i.terminate(grace) })
}

// terminate signals the proc until it has ended.
func (i *instance) terminate(grace time.Duration) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	p, _ := i.wait(ctx, func(s State) bool { return s != Init && s != Boot })
	box := i.sandbox()
	if p.State.Ended() || box == nil {
		return
	}
	start := time.Now()
	for _, at := range termAt {
		if at >= grace && at > 0 {
			break
		}
		if !sleepUntil(box.Done(), start.Add(at)) {
			return
		}
		if err := box.Signal(syscall.SIGTERM); err != nil {
			i.log.Debug("signal", "signal", "SIGTERM", "err", err)
		}
	}
	if sleepUntil(box.Done(), start.Add(grace)) {
		i.log.Info("grace is over, killing", "grace_seconds", grace.Seconds())
		box.Kill()
	}
}

// sleepUntil tells whether the time came before done.
func sleepUntil(done <-chan struct{}, t time.Time) bool {
	timer := time.NewTimer(time.Until(t))
	defer timer.Stop()
	select {
	case <-done:
		return false
	case <-timer.C:
		return true
	}
}

// Remove ends a proc as [Manager.Stop] does and disposes of it: when it returns
// nil nothing is left, neither record nor log. When ctx ends first the proc
// still stops, but stays.
func (m *Manager) Remove(ctx context.Context, id string, grace time.Duration) error {
	if _, err := m.Stop(ctx, id, grace); err != nil {
		return err
	}
	return m.dispose(id)
}

// dispose forgets a proc that has ended and removes its folder.
func (m *Manager) dispose(id string) error {
	m.mu.Lock()
	i, ok := m.procs[id]
	delete(m.procs, id)
	m.mu.Unlock()
	if !ok {
		return ErrNotExist
	}
	// The rename makes it gone at once, for a start after a crash as well.
	trash := filepath.Join(m.procsDir(), trashPrefix+id)
	if err := os.Rename(i.dir, trash); err != nil {
		return fmt.Errorf("remove proc %s: %w", id, err)
	}
	i.log.Info("removed")
	if err := os.RemoveAll(trash); err != nil {
		return fmt.Errorf("remove proc %s: %w", id, err)
	}
	return nil
}

const trashPrefix = ".trash-"

// prune disposes of the oldest ended procs beyond what is kept.
func (m *Manager) prune() {
	procs := m.List()
	procs = slices.DeleteFunc(procs, func(p Proc) bool { return !p.State.Ended() })
	slices.SortStableFunc(procs, func(a, b Proc) int { return a.Ended.Compare(*b.Ended) })
	for len(procs) > m.cfg.KeepEnded {
		if err := m.dispose(procs[0].ID); err != nil && !errors.Is(err, ErrNotExist) {
			m.log.Warn("prune", "proc", procs[0].ID, "err", err)
		}
		procs = procs[1:]
	}
}

// Close refuses new procs, stops those that run, and waits for them. When ctx
// ends it kills what is left and waits for that. It frees the pools and the log
// sink; the Manager is of no use afterwards.
func (m *Manager) Close(ctx context.Context) error {
	m.mu.Lock()
	m.closing = true
	all := make([]*instance, 0, len(m.procs))
	for _, i := range m.procs {
		all = append(all, i)
	}
	m.mu.Unlock()
	for _, i := range all {
		if !i.snapshot().State.Ended() {
			m.stop(i, -1)
		}
	}
	idle := make(chan struct{})
	// Owned by Close, which waits for idle.
	go func() {
		m.background.Wait()
		close(idle)
	}()
	select {
	case <-idle:
	case <-ctx.Done():
		m.cancel()
		for _, i := range all {
			if box := i.sandbox(); box != nil {
				box.Kill()
			}
		}
		<-idle
	}
	// Every state has been told to the callbacks. A receiver that does not
	// answer holds up the end no longer than this.
	last := time.AfterFunc(lastCallbacks, m.cancel)
	defer last.Stop()
	m.callbacks.Wait()
	m.cancel()
	return m.closePools()
}
