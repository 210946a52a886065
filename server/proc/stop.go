package proc

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/gilliam/hypervisor/isolate/failpoint"
	"github.com/gilliam/hypervisor/server/proc/durable"
)

// termAt are the moments of a stop at which SIGTERM, or the signal that the proc
// asks for, is sent, as the original did; SIGKILL follows at the end of the grace.
var termAt = []time.Duration{0, time.Second, 3 * time.Second}

// lastCallbacks is how long the callbacks that are due have left after the end
// of the last proc. What they do not manage is for the next start.
const lastCallbacks = 2 * time.Second

// Stop ends a proc and returns it when it has ended; its record and log stay.
// A negative grace means the configured one. When ctx ends first the stop goes
// on by itself. Stopping a proc that has ended does nothing.
func (m *Manager) Stop(ctx context.Context, id string, grace time.Duration) (Proc, error) {
	i, err := m.get(id)
	if err != nil {
		return Proc{}, err
	}
	m.stop(i, stop{Grace: grace})
	return i.wait(ctx, State.Ended)
}

// stop begins to end the proc, and tells whether there was anything to end.
func (m *Manager) stop(i *instance, wanted stop) bool {
	wanted.At, wanted.Grace = time.Now().UTC(), i.grace(wanted.Grace)
	err := i.change(func(r *record) error {
		if r.Proc.State.Ended() {
			return errEnded
		}
		r.Stop = wanted.after(r.Stop)
		return nil
	})
	if errors.Is(err, errEnded) {
		return false
	}
	if err != nil { // it is stopped all the same, if we live long enough
		i.log.Error("stop not recorded", "err", err)
		i.mu.Lock()
		i.r.Stop = wanted.after(i.r.Stop)
		i.mu.Unlock()
	}
	failpoint.Hit("proc.stop.recorded")
	i.cancelBoot()
	// Owned by the Manager: ends with the proc. Close waits for it; the proc's
	// own life, which has not ended, keeps that wait from being over already.
	m.background.Go(m.guarded(func() { i.terminate(wanted.Grace) }))
	return true
}

// grace is how long a stop waits: what is asked for, or, when that is negative,
// the proc's own, or the hypervisor's.
func (i *instance) grace(asked time.Duration) time.Duration {
	own := i.recorded().Proc.Grace.Duration()
	switch {
	case asked >= 0:
		return asked
	case own > 0:
		return own
	}
	return i.m.cfg.Grace
}

// errEnded is a proc that has ended already.
var errEnded = errors.New("it has ended")

// after is what is wanted of a proc of which something was wanted before: the
// sooner end.
func (s stop) after(before *stop) *stop {
	if before != nil {
		s.Remove, s.Why = s.Remove || before.Remove, before.Why
		if before.At.Add(before.Grace).Before(s.At.Add(s.Grace)) {
			s.At, s.Grace = before.At, before.Grace
		}
	}
	return &s
}

// terminate signals the proc until it has ended.
func (i *instance) terminate(grace time.Duration) {
	p, err := i.wait(i.m.life, func(s State) bool { return s == Running || s.Ended() })
	box := i.sandbox()
	if err != nil || p.State.Ended() || box == nil {
		return
	}
	start := time.Now()
	for _, at := range termAt {
		if at >= grace && at > 0 {
			break
		}
		if !i.sleepUntil(box.Done(), start.Add(at)) {
			return
		}
		if err := box.Signal(p.stopSignal()); err != nil {
			i.log.Debug("signal", "signal", p.stopSignal(), "err", err)
		}
		failpoint.Hit("proc.stop.signalled")
	}
	if i.sleepUntil(box.Done(), start.Add(grace)) {
		i.log.Info("grace is over, killing", "grace_seconds", grace.Seconds())
		box.Kill()
	}
}

// sleepUntil tells whether the time came before done, and before the proc is left
// to the next hypervisor.
func (i *instance) sleepUntil(done <-chan struct{}, t time.Time) bool {
	return i.sleep(done, time.Until(t))
}

// sleep is sleepUntil with how long to wait.
func (i *instance) sleep(done <-chan struct{}, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-done:
		return false
	case <-i.m.leaving:
		return false
	case <-timer.C:
		return true
	}
}

// Remove ends a proc as [Manager.Stop] does and disposes of it: when it returns
// nil nothing is left, neither record nor log. When ctx ends first the proc
// still stops, but stays.
func (m *Manager) Remove(ctx context.Context, id string, grace time.Duration) error {
	i, err := m.get(id)
	if err != nil {
		return err
	}
	if !m.stop(i, stop{Grace: grace, Remove: true}) {
		return m.dispose(id)
	}
	select {
	case err := <-i.gone:
		i.gone <- err // for the others who wait
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// dispose removes a proc that has ended, for all who want that at the same time.
// Nobody hears that it is not there before nothing of it is. That it is not there any
// more is what was wanted.
func (m *Manager) dispose(id string) error {
	_, err, _ := m.disposals.Do(id, func() (any, error) { return nil, m.discard(id) })
	return err
}

func (m *Manager) discard(id string) error {
	m.mu.Lock()
	i, ok := m.procs[id]
	if ok {
		m.going[id] = true
	}
	m.mu.Unlock()
	if !ok {
		return nil
	}
	trash := filepath.Join(m.procsDir(), trashPrefix+id)
	// The rename makes it gone at once, for a start after a crash, and once it is on the
	// disk also for one after a power cut.
	err := os.Rename(i.dir, trash)
	gone := err == nil
	if gone {
		failpoint.Hit("proc.trashed")
		m.outbox.Forget(id)
		// What these leave is found by the next audit.
		err = errors.Join(durable.SyncDir(m.procsDir()), os.RemoveAll(trash))
	}
	m.mu.Lock()
	delete(m.going, id)
	if gone {
		delete(m.procs, id)
	}
	m.mu.Unlock()
	if err != nil {
		return fmt.Errorf("remove proc %s: %w", id, err)
	}
	i.log.Info("removed")
	return nil
}

const trashPrefix = ".trash-"

// prune disposes of the oldest ended procs beyond what is kept.
func (m *Manager) prune() {
	procs := m.List()
	m.mu.Lock()
	going := maps.Clone(m.going)
	m.mu.Unlock()
	procs = slices.DeleteFunc(procs, func(p Proc) bool { return !p.State.Ended() || going[p.ID] })
	slices.SortStableFunc(procs, func(a, b Proc) int { return a.Ended.Compare(*b.Ended) })
	for len(procs) > m.cfg.KeepEnded {
		if err := m.dispose(procs[0].ID); err != nil {
			m.log.Warn("prune", "proc", procs[0].ID, "err", err)
		}
		procs = procs[1:]
	}
}

// Close refuses new procs and either stops those that run and waits for them, or
// leaves them to the next hypervisor; see [Config.StopOnExit]. When ctx ends it
// kills what is left and waits for that. It frees the pools and the log sink; the
// Manager is of no use afterwards.
func (m *Manager) Close(ctx context.Context) error {
	m.mu.Lock()
	m.closing = true
	m.endingNow.Do(func() { close(m.ending) })
	all := slices.Collect(maps.Values(m.procs))
	m.mu.Unlock()
	if m.cfg.StopOnExit {
		for _, i := range all {
			m.stop(i, stop{Grace: -1})
		}
	} else {
		m.leave()
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
			if box := i.sandbox(); box != nil && m.cfg.StopOnExit {
				box.Kill()
			}
		}
		<-idle
	}
	last, cancel := context.WithTimeout(context.Background(), lastCallbacks)
	defer cancel()
	m.outbox.Close(last)
	m.cancel()
	m.leave()
	return m.closeShared(ctx)
}
