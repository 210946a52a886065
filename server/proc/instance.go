package proc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/gilliam/hypervisor/isolate"
	"github.com/gilliam/hypervisor/isolate/failpoint"
	"github.com/gilliam/hypervisor/server/proc/durable"
)

// An instance is a proc with what the Manager holds for it.
type instance struct {
	m   *Manager
	dir string // procs/<id>
	log *slog.Logger

	boot       context.Context // ends when the proc is to stop before it runs
	cancelBoot context.CancelFunc
	over       chan struct{} // closed when the proc has ended
	gone       chan error    // how its removal went, if it was asked to be removed before it had ended

	writing sync.Mutex // one change of the record at a time; held before mu

	mu      sync.Mutex
	r       record
	box     *isolate.Sandbox // while running
	image   string           // digest of what it was launched with
	failed  error            // why we end it, as its own failure
	changed chan struct{}    // closed and replaced at each change of the record
}

// create makes the proc's folder.
func (i *instance) create() error {
	if err := os.Mkdir(i.dir, 0o700); err != nil {
		err = unwritable(err)
		i.m.pressed(err)
		return err
	}
	failpoint.Hit("proc.folder.made")
	return durable.SyncDir(i.m.procsDir())
}

// change is the only writer of records: what f makes of it is on disk before
// anybody hears of it. When f fails nothing changes.
func (i *instance) change(f func(*record) error) error {
	i.writing.Lock()
	defer i.writing.Unlock()
	r := i.recorded()
	if err := f(&r); err != nil {
		return err
	}
	failpoint.Hit("proc.record.before." + string(r.Proc.State))
	err := unwritable(writeRecord(i.dir, r))
	i.m.pressed(err)
	failpoint.Hit("proc.record.after." + string(r.Proc.State))
	if err != nil && !r.Proc.State.Ended() {
		return err
	}
	// A final state that cannot be recorded is told all the same: the proc has
	// ended, and the next start finds that out for itself.
	if err != nil {
		i.log.Error("state not recorded", "state", r.Proc.State, "err", err)
	}
	i.tell(r)
	i.mu.Lock()
	defer i.mu.Unlock()
	i.r = r
	close(i.changed)
	i.changed = make(chan struct{})
	return nil
}

// recorded is the record as it is now. What it points to never changes.
func (i *instance) recorded() record {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.r
}

// to moves the proc to its next state, with the changes that belong to it. It is
// the only writer of states.
func (i *instance) to(next State, set func(*record)) error {
	err := i.change(func(r *record) error {
		if !r.Proc.State.may(next) {
			return fmt.Errorf("bug: proc %s may not go from %s to %s", r.Proc.ID, r.Proc.State, next)
		}
		r.Proc.State = next
		r.Proc.Seq++
		r.Proc.Changed = time.Now().UTC()
		if set != nil {
			set(r)
		}
		return nil
	})
	if err != nil {
		return err
	}
	i.log.Info("state", "state", next, "reason", i.recorded().Proc.Reason)
	if next.Ended() {
		close(i.over)
	}
	return nil
}

// snapshot is the proc as it is now. It shares nothing that changes.
func (i *instance) snapshot() Proc {
	p := i.recorded().Proc
	p.Config = maps.Clone(p.Config)
	return p
}

// wait returns the proc once its state is what is wanted, or ctx's error.
func (i *instance) wait(ctx context.Context, want func(State) bool) (Proc, error) {
	return i.waitFor(ctx, func(p Proc) bool { return want(p.State) })
}

// waitFor returns the proc once it is as it is wanted, or ctx's error.
func (i *instance) waitFor(ctx context.Context, want func(Proc) bool) (Proc, error) {
	for {
		i.mu.Lock()
		is, changed := want(i.r.Proc), i.changed
		i.mu.Unlock()
		if is {
			return i.snapshot(), nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return i.snapshot(), ctx.Err()
		}
	}
}

func (i *instance) sandbox() *isolate.Sandbox {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.box
}

func (i *instance) setSandbox(box *isolate.Sandbox) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.box = box
}

func (i *instance) imageDigest() string {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.image
}

func (i *instance) setImage(digest string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.image = digest
}

func (i *instance) isStopping() bool { return i.recorded().Stop != nil }

// phase tells how long a phase of the launch took that began at start.
func (i *instance) phase(name string, start time.Time) {
	i.m.cfg.OnPhase(name, time.Since(start))
}

// release gives back everything that was taken for the proc, the last taken
// first. It does nothing for what was never taken, and can be done again. The
// range of ids goes back only when nothing is left that it owns.
func (i *instance) release() error {
	r := i.recorded()
	err := i.clear()
	i.m.cfg.Images.Release(r.Proc.ID)
	failpoint.Hit("proc.cleared")
	if r.IDs != nil && err == nil {
		err = i.m.ids.Release(*r.IDs, r.Proc.ID)
	}
	failpoint.Hit("proc.ids.released")
	if r.Proc.Port != 0 {
		err = errors.Join(err, i.m.ports.Release(r.Proc.Port, r.Proc.ID))
	}
	return err
}

// clear removes the proc's sandbox and its layer.
func (i *instance) clear() error {
	id := i.recorded().Proc.ID
	var err error
	if box := i.sandbox(); box != nil {
		err = box.Destroy()
		i.setSandbox(nil)
	} else {
		err = isolate.RemoveCgroup(id)
	}
	return errors.Join(err, i.m.cfg.Layers.Retire(id))
}

func (m *Manager) instanceOf(r record) *instance {
	p := r.Proc
	log := m.log.With("proc", p.ID, "app", p.App, "name", p.Name)
	ctx, cancel := context.WithCancel(context.Background())
	i := &instance{
		m:    m,
		dir:  filepath.Join(m.procsDir(), p.ID),
		log:  log,
		boot: ctx, cancelBoot: cancel,
		over: make(chan struct{}), gone: make(chan error, 1),
		r:       r,
		changed: make(chan struct{}),
	}
	if p.State.Ended() {
		cancel()
		close(i.over)
	}
	return i
}
