package proc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"sync"
	"time"

	"github.com/gilliam/hypervisor/isolate"
	"github.com/gilliam/hypervisor/server/proc/durable"
)

// An instance is a proc with what the Manager holds for it.
type instance struct {
	m      *Manager
	dir    string // procs/<id>
	log    *slog.Logger
	notify *notifier

	boot       context.Context // ends when the proc is to stop before it runs
	cancelBoot context.CancelFunc

	mu       sync.Mutex
	p        Proc
	box      *isolate.Sandbox // while running
	logFile  *logFile
	stopping bool          // somebody asked for the end
	changed  chan struct{} // closed and replaced at each change of state
}

// create makes the proc's folder and first record.
func (i *instance) create() error {
	if err := os.Mkdir(i.dir, 0o700); err != nil {
		return err
	}
	err := writeRecord(i.dir, i.p)
	if err == nil {
		err = durable.SyncDir(i.m.procsDir())
	}
	if err != nil {
		return errors.Join(err, os.RemoveAll(i.dir))
	}
	return nil
}

// to moves the proc to its next state, with the changes that belong to it. The
// record is on disk before anybody hears of it. It is the only writer of states.
//
// A final state that cannot be recorded is told all the same: the proc has
// ended, and the next start finds that out for itself.
func (i *instance) to(next State, change func(*Proc)) error {
	i.mu.Lock()
	p := i.p
	if !p.State.may(next) {
		i.mu.Unlock()
		return fmt.Errorf("bug: proc %s may not go from %s to %s", p.ID, p.State, next)
	}
	p.State = next
	if change != nil {
		change(&p)
	}
	i.mu.Unlock()

	// Only the goroutine of live gets here, so that the record cannot be overtaken.
	if err := writeRecord(i.dir, p); err != nil {
		if !next.Ended() {
			return err
		}
		i.log.Error("state not recorded", "state", next, "err", err)
	}
	i.mu.Lock()
	i.p = p
	close(i.changed)
	i.changed = make(chan struct{})
	i.mu.Unlock()

	i.log.Info("state", "state", next, "reason", p.Reason)
	i.notify.tell(p)
	return nil
}

// snapshot is the proc as it is now.
func (i *instance) snapshot() Proc {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.copy()
}

// copy shares nothing that changes. Callers hold i.mu.
func (i *instance) copy() Proc {
	p := i.p
	p.Config = maps.Clone(p.Config)
	return p
}

// wait returns the proc once its state is what is wanted, or ctx's error.
func (i *instance) wait(ctx context.Context, want func(State) bool) (Proc, error) {
	for {
		i.mu.Lock()
		p, changed := i.copy(), i.changed
		i.mu.Unlock()
		if want(p.State) {
			return p, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return p, ctx.Err()
		}
	}
}

func (i *instance) sandbox() *isolate.Sandbox {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.box
}

// logs is the proc's log, being written or ended.
func (i *instance) logs() *logFile {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.logFile == nil {
		return endedLog(i.dir)
	}
	return i.logFile
}

func (i *instance) isStopping() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.stopping
}

// phase tells how long a phase of the launch took that began at start.
func (i *instance) phase(name string, start time.Time) {
	i.m.cfg.OnPhase(name, time.Since(start))
}
