package proc

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/gilliam/hypervisor/isolate"
	"github.com/gilliam/hypervisor/isolate/failpoint"
)

// errLost is a proc of which nothing is left, though it ran.
var errLost = errors.New("nothing was left of it when the hypervisor was started again")

// errLeft is a proc that goes on without this hypervisor.
var errLeft = errors.New("the hypervisor ends")

// live takes the proc from where its record says that it is to its end. Everything
// that was taken for the proc is given back before the end is told. When the
// hypervisor ends first, it leaves the proc to the next one.
func (i *instance) live() {
	defer i.cancelBoot()
	for {
		var exit isolate.Exit
		var err error
		if p := i.m.guard.Run("proc", func() { exit, err = i.run() }, "proc", i.recorded().Proc.ID); p != nil {
			err = p // whatever runs is ended with what it holds
		} else {
			i.m.guard.Report("launch", err, "proc", i.recorded().Proc.ID)
		}
		if errors.Is(err, errLeft) {
			i.log.Debug("left to the next hypervisor")
			return
		}
		if s := i.recorded().Proc.State; s != Running && s != Restarting {
			i.m.countLaunch("fail")
		}
		next, set := i.outcome(exit, err)
		if i.restarts(next, set) {
			continue
		}
		if err := i.release(); err != nil {
			i.log.Error("proc left something behind", "err", err)
		}
		failpoint.Hit("proc.released")
		if err := i.to(next, func(r *record) { set(r); r.Proc.giveUp() }); err != nil {
			i.log.Error("state", "err", err)
		}
		break
	}
	if s := i.recorded().Stop; s != nil && s.Remove {
		i.gone <- i.m.dispose(i.recorded().Proc.ID)
	}
}

// restarts makes the proc wait for its restart, if it is to have one.
func (i *instance) restarts(next State, set func(*record)) bool {
	r := i.recorded()
	set(&r)
	if !i.m.cfg.Restarts.again(&r, next, time.Now(), jitter()) {
		return false
	}
	if err := i.clear(); err != nil {
		i.log.Error("proc left something behind", "err", err)
	}
	err := i.to(Restarting, func(to *record) {
		set(to)
		to.Proc.Restarts, to.Proc.InRow, to.Proc.NextStart = r.Proc.Restarts, r.Proc.InRow, r.Proc.NextStart
		to.Proc.restarting()
	})
	if err != nil {
		i.log.Error("state", "err", err)
		return false
	}
	i.m.countRestart()
	return true
}

// pause waits for the time of the restart, and boots then.
func (i *instance) pause() error {
	timer := time.NewTimer(due(*i.recorded().Proc.NextStart, time.Now(), i.m.cfg.Restarts.Most))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-i.boot.Done(): // it is to end
		return context.Canceled
	case <-i.m.leaving:
		return errLeft
	}
	// What an earlier sandbox left word of must not be taken for the next one's. It is
	// gone for good with the record of the boot, whose folder is made durable.
	if err := os.Remove(filepath.Join(i.dir, sandboxName)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := i.keep().Forget(); err != nil {
		return err
	}
	failpoint.Hit("proc.restart.begun")
	return i.to(Boot, func(r *record) { r.Proc.NextStart = nil })
}

// run makes the proc run, unless it does, and returns how it ended, or what kept
// it from running.
func (i *instance) run() (isolate.Exit, error) {
	switch i.recorded().Proc.State {
	case Init:
		if err := i.to(Boot, nil); err != nil {
			return isolate.Exit{}, err
		}
	case Restarting:
		if err := i.pause(); err != nil {
			return isolate.Exit{}, err
		}
	}
	box := i.sandbox() // from before
	if box == nil && i.recorded().Proc.State == Running {
		return isolate.Exit{Code: 128 + int(syscall.SIGKILL), Signal: int(syscall.SIGKILL), Err: errLost}, nil
	}
	if box == nil {
		var err error
		if box, err = i.start(); err != nil {
			return isolate.Exit{}, err
		}
	}
	if i.recorded().Proc.State == Boot {
		i.m.countLaunch("running")
		started := time.Now().UTC()
		err := i.to(Running, func(r *record) {
			r.Proc.Started, r.Proc.PID, r.Proc.Reason = &started, box.PID(), ""
			r.Proc.ImageDigest = cmp.Or(i.imageDigest(), r.Proc.ImageDigest)
		})
		if err != nil {
			box.Kill()
			box.Wait()
			return isolate.Exit{}, err
		}
	}
	i.m.forward(i)
	defer i.attend(box)()
	select {
	case <-box.Done():
		return box.Wait(), nil
	case <-i.m.leaving:
		box.Leave()
		return isolate.Exit{}, errLeft
	}
}

// attend does for a running proc what was asked beside running it, until the
// function that it returns is called.
func (i *instance) attend(box *isolate.Sandbox) func() {
	ctx, cancel := context.WithCancel(i.m.life)
	var all sync.WaitGroup
	p := i.recorded().Proc
	if p.Listening == nil {
		all.Go(i.m.guarded(func() { i.watchListening(ctx, box) }))
	}
	if p.Supervision.Health != nil {
		all.Go(i.m.guarded(func() { i.watchHealth(ctx, box) }))
	}
	if p.TTL > 0 {
		all.Go(i.m.guarded(func() {
			ttl := p.TTL.Duration()
			if i.sleep(ctx.Done(), due(p.Created.Add(ttl), time.Now(), ttl)) {
				i.m.stop(i, stop{Grace: -1, Why: fmt.Sprintf("its ttl of %v is over", ttl)})
			}
		}))
	}
	return func() {
		cancel()
		all.Wait()
	}
}

// fail ends a running proc for a reason of ours, as a failure of its own.
func (i *instance) fail(why error) {
	i.mu.Lock()
	i.failed = why
	i.mu.Unlock()
	i.m.background.Go(i.m.guarded(func() { i.terminate(i.grace(-1)) }))
}
