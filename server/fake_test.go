package server

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/gilliam/hypervisor/isolate"
	"github.com/gilliam/hypervisor/server/proc"
)

// fakeProcs keeps procs in memory. They run until end is called.
type fakeProcs struct {
	mu    sync.Mutex
	procs []*fakeProc
	err   error // answered by every call that may fail, when set
	panic any   // panicked with by Create, when set
	calls []string
	drain func(context.Context) error // nil: done at once

	callbacks []proc.Callback
	volumes   []proc.Volume
	secret    proc.Secret // of the last proc made
}

type fakeProc struct {
	proc.Proc
	ended   chan struct{}
	listens chan struct{}
	lines   []proc.LogLine
	grace   time.Duration // of the last stop or remove
}

func (f *fakeProcs) add(p proc.Proc, lines ...proc.LogLine) *fakeProc {
	f.mu.Lock()
	defer f.mu.Unlock()
	if p.ID == "" {
		p.ID = uuid.NewString()
	}
	fp := &fakeProc{Proc: p, ended: make(chan struct{}), listens: make(chan struct{}), lines: lines}
	if p.State.Ended() {
		close(fp.ended)
	}
	f.procs = append(f.procs, fp)
	return fp
}

func (f *fakeProcs) find(id string) (*fakeProc, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, id)
	if f.err != nil {
		return nil, f.err
	}
	for _, p := range f.procs {
		if p.ID == id {
			return p, nil
		}
	}
	return nil, proc.ErrNotExist
}

func (f *fakeProcs) end(p *fakeProc, s proc.State) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !p.State.Ended() {
		p.State = s
		close(p.ended)
	}
}

func (f *fakeProcs) listen(p *fakeProc) {
	f.mu.Lock()
	defer f.mu.Unlock()
	p.Listening = &p.Created
	close(p.listens)
}

func (f *fakeProcs) Create(_ context.Context, r proc.Request) (proc.Proc, error) {
	switch {
	case f.panic != nil:
		panic(f.panic)
	case f.err != nil:
		return proc.Proc{}, f.err
	case r.App == "":
		return proc.Proc{}, &proc.FieldError{Field: "app", Detail: "must be given"}
	case r.Limits.Memory < 0:
		return proc.Proc{}, &proc.FieldError{Field: "limits.memory", Detail: "must be at least 16777216"}
	}
	f.secret = r.CallbackSecret
	p := proc.Proc{ID: uuid.NewString(), App: r.App, Name: r.Name, Image: r.Image, Command: r.Command, Config: r.Config,
		Callback: r.Callback, Limits: r.Limits, Port: 10000, State: proc.Init}
	return f.add(p).Proc, nil
}

func (f *fakeProcs) Get(id string) (proc.Proc, error) {
	p, err := f.find(id)
	if err != nil {
		return proc.Proc{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return p.Proc, nil
}

func (f *fakeProcs) List() []proc.Proc {
	f.mu.Lock()
	defer f.mu.Unlock()
	var list []proc.Proc
	for _, p := range f.procs {
		list = append(list, p.Proc)
	}
	return list
}

func (f *fakeProcs) Stop(_ context.Context, id string, grace time.Duration) (proc.Proc, error) {
	p, err := f.find(id)
	if err != nil {
		return proc.Proc{}, err
	}
	p.grace = grace
	f.end(p, proc.Fail)
	return f.Get(id)
}

func (f *fakeProcs) Remove(ctx context.Context, id string, grace time.Duration) error {
	if _, err := f.Stop(ctx, id, grace); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, p := range f.procs {
		if p.ID == id {
			f.procs = append(f.procs[:i], f.procs[i+1:]...)
			break
		}
	}
	return nil
}

func (f *fakeProcs) Wait(ctx context.Context, id string, is func(proc.Proc) bool) (proc.Proc, error) {
	p, err := f.find(id)
	if err != nil {
		return proc.Proc{}, err
	}
	select {
	case <-p.listens:
		if now, err := f.Get(id); is(now) {
			return now, err
		}
	case <-p.ended:
		return f.Get(id)
	case <-ctx.Done():
		return proc.Proc{}, ctx.Err()
	}
	select {
	case <-p.ended:
		return f.Get(id)
	case <-ctx.Done():
		return proc.Proc{}, ctx.Err()
	}
}

func (f *fakeProcs) Logs(ctx context.Context, id string, opt proc.LogOptions, fn func(proc.LogLine) error) error {
	p, err := f.find(id)
	if err != nil {
		return err
	}
	lines := slices.DeleteFunc(slices.Clone(p.lines), func(l proc.LogLine) bool { return l.Time.Before(opt.Since) })
	if opt.Tail >= 0 && opt.Tail < len(lines) {
		lines = lines[len(lines)-opt.Tail:]
	}
	for _, l := range lines {
		if err := fn(l); err != nil {
			return err
		}
	}
	if !opt.Follow {
		return nil
	}
	select {
	case <-p.ended:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (f *fakeProcs) Plan(_ context.Context, r proc.Request) (isolate.Plan, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return isolate.Plan{ID: "planned", Hostname: r.App + "-" + r.Name}, f.err
}

func (f *fakeProcs) Callbacks() []proc.Callback { return f.callbacks }

func (f *fakeProcs) RetryCallback(id string) (proc.Callback, error) {
	at, err := f.callback(id)
	if err != nil {
		return proc.Callback{}, err
	}
	f.callbacks[at].State = "pending"
	return f.callbacks[at], nil
}

func (f *fakeProcs) RemoveCallback(id string) error {
	at, err := f.callback(id)
	switch {
	case err != nil:
		return err
	case f.callbacks[at].State != "dead":
		return proc.ErrCallbackPending
	}
	f.callbacks = slices.Delete(f.callbacks, at, at+1)
	return nil
}

func (f *fakeProcs) callback(id string) (int, error) {
	at := slices.IndexFunc(f.callbacks, func(c proc.Callback) bool { return c.ID == id })
	if at < 0 {
		return 0, proc.ErrNoCallback
	}
	return at, nil
}

func (f *fakeProcs) PlanOf(id string) (isolate.Plan, error) {
	p, err := f.running(id)
	if err != nil {
		return isolate.Plan{}, err
	}
	return isolate.Plan{ID: p.ID}, nil
}

func (f *fakeProcs) Usage(id string) (isolate.Usage, error) {
	if _, err := f.running(id); err != nil {
		return isolate.Usage{}, err
	}
	return isolate.Usage{CPU: 1500 * time.Millisecond, Memory: 4096, MemoryLimit: 1 << 30, Pids: 2, PidsLimit: 512, Disk: 8192, DiskLimit: 1 << 30, Inodes: 12, InodesLimit: 65536,
		Volumes: []isolate.VolumeUsage{{Target: "/db", Disk: 4096, DiskLimit: 1 << 20, Inodes: 11, InodesLimit: 64}}}, nil
}

func (f *fakeProcs) Verify(id string) ([]isolate.Difference, error) {
	p, err := f.running(id)
	if err != nil || p.App != "crooked" {
		return nil, err
	}
	return []isolate.Difference{{Fact: "umask", Want: "0022", Got: "0000"}}, nil
}

func (f *fakeProcs) running(id string) (*fakeProc, error) {
	p, err := f.find(id)
	if err == nil && p.State != proc.Running {
		err = proc.ErrNotRunning
	}
	return p, err
}

func (f *fakeProcs) Audit(bool) ([]proc.Leak, error) { return nil, nil }
func (f *fakeProcs) Drain(ctx context.Context) error {
	if f.drain == nil {
		return nil
	}
	return f.drain(ctx)
}
func (f *fakeProcs) Undrain() {}
