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
	"github.com/gilliam/hypervisor/rootfs"
	"github.com/gilliam/hypervisor/server/proc/lease"
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

// start provisions the proc and launches its sandbox.
func (i *instance) start() (*isolate.Sandbox, error) {
	if i.isStopping() {
		return nil, context.Canceled
	}
	if err := i.book(); err != nil {
		return nil, err
	}
	start := time.Now()
	spec, err := i.provision()
	if err != nil {
		if i.m.isLeaving() {
			return nil, errLeft
		}
		i.m.pressed(err)
		return nil, err
	}
	box, err := i.launch(spec)
	if err != nil {
		i.m.pressed(err)
		return nil, err
	}
	i.phase("total", start)
	return box, nil
}

// number takes the numbers that the record lacks. The proc's folder is there, so
// that they are nobody else's.
func (i *instance) number(r *record) error {
	p := &r.Proc
	if p.Port == 0 {
		port, err := i.m.ports.Take(p.ID)
		if errors.Is(err, lease.ErrExhausted) {
			return fmt.Errorf("no port left of %d-%d: stop a proc, or start the hypervisor with a larger --max-procs",
				i.m.cfg.BasePort, i.m.cfg.BasePort+i.m.cfg.MaxProcs-1)
		}
		if err != nil {
			return err
		}
		failpoint.Hit("proc.port.leased")
		p.Port = port
		p.Config = mergeConfig(p.Config, port, i.m.host)
	}
	if r.IDs == nil {
		ids, err := i.m.ids.Take(p.ID)
		if err != nil {
			return fmt.Errorf("no range of user ids left: %w", err)
		}
		failpoint.Hit("proc.ids.leased")
		r.IDs = &ids
	}
	return nil
}

// provision finds the template, fetches the image and makes the layer.
func (i *instance) provision() (isolate.Spec, error) {
	r := i.recorded()
	ctx, cancel := context.WithCancel(i.boot)
	defer cancel()
	defer context.AfterFunc(i.m.life, cancel)()
	var template rootfs.Template
	var image rootfs.Image
	var err error
	if !rootfs.IsContainer(r.Proc.Image) { // which brings its own
		if template, err = i.m.cfg.Templates.Get(templateRef(r.Proc)); err != nil {
			return isolate.Spec{}, err
		}
	}
	if r.Proc.Image != "" {
		start := time.Now()
		want := rootfs.Want{Ref: r.Proc.Image, Digest: r.Proc.ImageDigest, Holder: r.Proc.ID}
		if image, err = i.m.cfg.Images.Fetch(ctx, want); err != nil {
			return isolate.Spec{}, err
		}
		i.setImage(image.Digest)
		i.phase("fetch", start)
		failpoint.Hit("proc.image.fetched")
	}
	if image.Container != nil {
		if err := i.settle(image); err != nil {
			return isolate.Spec{}, err
		}
		failpoint.Hit("proc.container.settled")
		r = i.recorded()
	}
	start := time.Now()
	ids := idsOf(*r.IDs)
	layer, err := i.m.layer(r.Proc, ids)
	if err != nil {
		return isolate.Spec{}, err
	}
	if err := i.writeHosts(); err != nil {
		return isolate.Spec{}, err
	}
	i.phase("layer", start)
	b, shown := onTemplate(r.Proc, template), image.Dir
	if image.Container != nil {
		b, shown = onContainer(r.Proc, *image.Container), ""
	}
	spec := specOf(i.m.cfg.StateDir, r.Proc, b, ids, layer)
	spec.Binds = i.m.binds(r.Proc, shown)
	return spec, i.m.provideMounts(&spec, r.Proc.Mounts)
}

const hostsName = "hosts"

// writeHosts writes the proc's /etc/hosts.
func (i *instance) writeHosts() error {
	p := i.recorded().Proc
	hosts := filepath.Join(i.dir, hostsName)
	text := fmt.Sprintf("127.0.0.1\tlocalhost %s\n::1\tlocalhost ip6-localhost ip6-loopback\n", hostname(p.App, p.Name))
	return errors.Join(os.WriteFile(hosts, []byte(text), 0o644), os.Chmod(hosts, 0o644))
}

// launch starts the sandbox, which keeps itself and its log in the proc's folder.
func (i *instance) launch(spec isolate.Spec) (*isolate.Sandbox, error) {
	start := time.Now()
	plan, err := isolate.NewPlan(spec, i.m.cfg.Engine.Host())
	if err != nil {
		return nil, err
	}
	if err := writeSpec(i.dir, spec); err != nil {
		return nil, err
	}
	failpoint.Hit("proc.spec.written")
	keep := i.keep()
	box, err := i.m.cfg.Engine.Launch(i.boot, plan, isolate.IO{Keep: &keep})
	if err != nil {
		return nil, err
	}
	i.phase("launch", start)
	i.setSandbox(box)
	if i.isStopping() {
		return nil, context.Canceled
	}
	return box, nil
}

// keep is where the sandbox keeps what it needs.
func (i *instance) keep() isolate.Keep {
	return isolate.Keep{Dir: i.dir, Segment: i.m.cfg.LogSegment, Rate: i.m.cfg.LogRate}
}

// outcome is the last state of the proc and what belongs to it.
func (i *instance) outcome(exit isolate.Exit, err error) (State, func(*record)) {
	ended := time.Now().UTC()
	if !exit.At.IsZero() {
		ended = exit.At.UTC()
	}
	r := i.recorded()
	ran := r.Proc.State == Running
	next := Fail
	if ran && err == nil && exit.Err == nil && exit.Code == 0 && exit.Signal == 0 {
		next = Done
	}
	i.mu.Lock()
	failed := i.failed
	i.failed = nil
	i.mu.Unlock()
	if failed != nil && r.Stop == nil {
		next = Fail
	} else {
		failed = nil
	}
	if exit.LogErr != nil {
		i.log.Error("output may be missing from the log", "err", exit.LogErr)
	}
	if exit.Err != nil && r.Boot != i.m.bootID {
		exit.Err = errors.New("the machine was restarted while it ran")
	}
	return next, func(r *record) {
		p := &r.Proc
		p.Ended, p.PID = &ended, 0
		p.Reason = reason(next, ran, r.Stop, exit, errors.Join(err, failed))
		var noExec *isolate.ExecError
		switch {
		case errors.As(err, &noExec):
			code := noExec.Code()
			p.ExitCode = &code
		case ran && err == nil:
			code := exit.Code
			p.ExitCode = &code
			p.OOMKilled = exit.OOMKilled
			if exit.Signal != 0 {
				p.Signal = isolate.SignalName(exit.Signal)
			}
		}
	}
}

// reason says in words why a proc failed.
func reason(next State, ran bool, stopping *stop, exit isolate.Exit, err error) string {
	switch {
	case next == Done:
		return ""
	case stopping != nil && !ran:
		return stopping.why() + " before it ran"
	case err != nil:
		return err.Error()
	case stopping != nil:
		return stopping.why()
	case exit.OOMKilled:
		return "out of memory: the kernel killed it at its memory limit; raise limits.memory or make it use less"
	case exit.Err != nil:
		return exit.Err.Error()
	case exit.Signal != 0:
		return "ended by signal " + isolate.SignalName(exit.Signal)
	}
	return fmt.Sprintf("exit status %d", exit.Code)
}
