package proc

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/gilliam/hypervisor/isolate"
	"github.com/gilliam/hypervisor/rootfs"
)

// live takes the proc from init to its end. Everything that it took for the proc
// is given back before the end is told.
func (i *instance) live(portErr error) {
	defer i.cancelBoot()
	var h holdings
	exit, err := i.run(&h, portErr)
	if relErr := i.release(&h); relErr != nil {
		i.log.Error("proc left something behind", "err", relErr)
	}
	if i.snapshot().State != Running {
		i.m.countLaunch("fail")
	}
	next, change := i.outcome(exit, err)
	if err := i.to(next, change); err != nil {
		i.log.Error("state", "err", err)
	}
}

// holdings are what a proc holds while it lives.
type holdings struct {
	idRange int // 1 + the number of its range of ids; 0 is none
	layer   bool
	box     *isolate.Sandbox
	capture *capture
}

// release gives back what h holds, the last taken first. The range of ids goes
// back to the pool only when nothing is left that it owns.
func (i *instance) release(h *holdings) error {
	var err error
	if h.box != nil {
		err = h.box.Destroy()
	}
	if h.capture != nil {
		h.capture.wait()
		err = errors.Join(err, h.capture.log.close())
	}
	if h.layer {
		err = errors.Join(err, i.m.cfg.Layers.Remove(i.p.ID))
	}
	if h.idRange > 0 && err == nil {
		i.m.ids.release(h.idRange - 1)
	}
	if i.p.Port != 0 {
		i.m.ports.release(i.p.Port - i.m.cfg.BasePort)
	}
	i.mu.Lock()
	i.box = nil
	i.mu.Unlock()
	return err
}

// run provisions the proc, runs it and returns how it ended, or what kept it
// from running.
func (i *instance) run(h *holdings, portErr error) (isolate.Exit, error) {
	if err := i.to(Boot, nil); err != nil {
		return isolate.Exit{}, err
	}
	if portErr != nil {
		return isolate.Exit{}, fmt.Errorf("no port left of %d-%d: stop a proc, or start the hypervisor with a larger --max-procs",
			i.m.cfg.BasePort, i.m.cfg.BasePort+i.m.cfg.MaxProcs-1)
	}
	start := time.Now()
	spec, err := i.provision(h)
	if err != nil {
		return isolate.Exit{}, err
	}
	if err := i.launch(h, spec); err != nil {
		return isolate.Exit{}, err
	}
	i.phase("total", start)
	i.m.countLaunch("running")
	started := time.Now().UTC()
	err = i.to(Running, func(p *Proc) { p.Started, p.PID = &started, h.box.PID() })
	if err != nil {
		h.box.Kill()
		h.box.Wait()
		return isolate.Exit{}, err
	}
	return h.box.Wait(), nil
}

// provision finds the template, fetches the image and makes the layer.
func (i *instance) provision(h *holdings) (isolate.Spec, error) {
	template, err := i.m.cfg.Templates.Get(i.p.Template)
	if err != nil {
		return isolate.Spec{}, err
	}
	var image rootfs.Image
	if i.p.Image != "" {
		start := time.Now()
		if image, err = i.m.cfg.Images.Fetch(i.boot, i.p.Image); err != nil {
			return isolate.Spec{}, err
		}
		i.phase("fetch", start)
	}
	start := time.Now()
	n, err := i.m.ids.lease()
	if err != nil {
		return isolate.Spec{}, fmt.Errorf("no range of user ids left: %w", err)
	}
	h.idRange = n + 1
	ids := isolate.IDRange{Base: uint32(idsBase + n*idsEach), Size: idsEach}
	layer, err := i.m.cfg.Layers.Create(i.p.ID, ids, nil)
	if err != nil {
		return isolate.Spec{}, err
	}
	h.layer = true
	if err := i.writeHosts(); err != nil {
		return isolate.Spec{}, err
	}
	i.phase("layer", start)
	spec := specOf(i.p, template, ids, layer)
	spec.Binds = i.m.binds(i.p, image.Dir)
	return spec, nil
}

const hostsName = "hosts"

// writeHosts writes the proc's /etc/hosts.
func (i *instance) writeHosts() error {
	hosts := filepath.Join(i.dir, hostsName)
	text := fmt.Sprintf("127.0.0.1\tlocalhost %s\n::1\tlocalhost ip6-localhost ip6-loopback\n", hostname(i.p.App, i.p.Name))
	return errors.Join(os.WriteFile(hosts, []byte(text), 0o644), os.Chmod(hosts, 0o644))
}

// launch starts the sandbox with its output captured.
func (i *instance) launch(h *holdings, spec isolate.Spec) error {
	start := time.Now()
	plan, err := isolate.NewPlan(spec, i.m.cfg.Engine.Host())
	if err != nil {
		return err
	}
	log, err := openLog(i.dir)
	if err != nil {
		return err
	}
	i.mu.Lock()
	i.logFile = log
	i.mu.Unlock()
	h.capture = &capture{
		log: log, sink: i.m.sink, tag: i.p.App + "[" + i.p.Name + "]", slog: i.log, dropped: i.m.countDropped,
	}
	stdout, err := h.capture.stream("stdout")
	if err != nil {
		return err
	}
	defer stdout.Close()
	stderr, err := h.capture.stream("stderr")
	if err != nil {
		return err
	}
	defer stderr.Close()
	box, err := i.m.cfg.Engine.Launch(i.boot, plan, isolate.IO{Stdout: stdout, Stderr: stderr})
	if err != nil {
		return err
	}
	i.phase("launch", start)
	h.box = box
	i.mu.Lock()
	i.box = box
	stopping := i.stopping
	i.mu.Unlock()
	if stopping {
		return context.Canceled
	}
	return nil
}

// outcome is the last state of the proc and what belongs to it.
func (i *instance) outcome(exit isolate.Exit, err error) (State, func(*Proc)) {
	ended := time.Now().UTC()
	if !exit.At.IsZero() {
		ended = exit.At.UTC()
	}
	stopping := i.isStopping()
	ran := i.snapshot().State == Running
	next := Fail
	if ran && err == nil && exit.Err == nil && exit.Code == 0 && exit.Signal == 0 {
		next = Done
	}
	return next, func(p *Proc) {
		p.Ended, p.PID = &ended, 0
		p.Reason = reason(next, ran, stopping, exit, err)
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
func reason(next State, ran, stopping bool, exit isolate.Exit, err error) string {
	switch {
	case next == Done:
		return ""
	case stopping && !ran:
		return "stopped by request before it ran"
	case err != nil:
		return err.Error()
	case stopping:
		return "stopped by request"
	case exit.OOMKilled:
		return "out of memory: the kernel killed it at its memory limit; raise limits.memory or make it use less"
	case exit.Err != nil:
		return exit.Err.Error()
	case exit.Signal != 0:
		return "ended by signal " + isolate.SignalName(exit.Signal)
	}
	return fmt.Sprintf("exit status %d", exit.Code)
}
