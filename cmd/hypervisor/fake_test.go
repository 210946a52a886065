package main

import (
	"bytes"
	"context"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/gilliam/hypervisor/isolate"
	"github.com/gilliam/hypervisor/metrics"
	"github.com/gilliam/hypervisor/rootfs"
	"github.com/gilliam/hypervisor/server"
	"github.com/gilliam/hypervisor/server/proc"
)

// fakeProcs keeps procs in memory. What a proc does is its command's first
// word; see Create.
type fakeProcs struct {
	mu       sync.Mutex
	procs    []*fakeProc
	requests []proc.Request
	closed   bool
	port     int         // of every proc
	deaf     bool        // no proc listens on it
	made     chan string // gets the id of each proc, when not nil

	callbacks []proc.Callback
	volumes   []proc.Volume
}

type fakeProc struct {
	proc.Proc
	ended chan struct{}
	lines []proc.LogLine
}

func line(stream, text string) proc.LogLine {
	return proc.LogLine{Time: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Stream: stream, Text: []byte(text)}
}

func (f *fakeProcs) Create(_ context.Context, r proc.Request) (proc.Proc, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if r.App == "bad" {
		return proc.Proc{}, &proc.FieldError{Field: "app", Detail: "must not be bad"}
	}
	f.requests = append(f.requests, r)
	p := &fakeProc{ended: make(chan struct{}), Proc: proc.Proc{ID: uuid.NewString(), App: r.App, Name: r.Name, Image: r.Image, Command: r.Command,
		State: proc.Running, Port: f.port, Created: time.Now()}}
	p.Started = &p.Created
	if !f.deaf {
		p.Listening = &p.Created
	}
	p.lines = []proc.LogLine{line("stdout", "out"), line("stderr", "err"), {Stream: "stdout", Text: []byte("par"), Partial: true}, line("stdout", "tial \xff")}
	f.procs = append(f.procs, p)
	switch r.Command.Args()[0] {
	case "exit3":
		p.end(proc.Fail, 3)
	case "oom":
		p.OOMKilled, p.Signal, p.Reason = true, "SIGKILL", "out of memory"
		p.end(proc.Fail, 137)
	case "missing":
		p.Started, p.Reason = nil, "exec missing: no such file"
		p.end(proc.Fail, 127)
	case "nothing":
		p.Started = nil
		p.Reason = "image: 404 Not Found: check the URL"
		p.State = proc.Fail
		close(p.ended)
	case "flood":
		p.lines = []proc.LogLine{{Lost: 9}, {Stream: "stdout", Lost: 7}, {Time: p.Created, Stream: "stderr", Lost: 5}, line("stdout", "out")}
		p.end(proc.Done, 0)
	case "wait", "/bin/bash": // until it is stopped
	default:
		p.end(proc.Done, 0)
	}
	if f.made != nil {
		f.made <- p.ID
	}
	return p.Proc, nil
}

func (p *fakeProc) end(s proc.State, code int) {
	if !p.State.Ended() {
		p.State, p.ExitCode = s, &code
		close(p.ended)
	}
}

func (f *fakeProcs) find(id string) (*fakeProc, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, p := range f.procs {
		if p.ID == id {
			return p, nil
		}
	}
	return nil, proc.ErrNotExist
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

func (f *fakeProcs) Stop(_ context.Context, id string, _ time.Duration) (proc.Proc, error) {
	p, err := f.find(id)
	if err != nil {
		return proc.Proc{}, err
	}
	f.mu.Lock()
	p.Signal = "SIGTERM"
	p.end(proc.Fail, 143)
	f.mu.Unlock()
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
	if now, err := f.Get(id); is(now) {
		return now, err
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

func (f *fakeProcs) Usage(string) (isolate.Usage, error) { return isolate.Usage{}, nil }
func (f *fakeProcs) Counts() proc.Counts                 { return proc.Counts{} }

func (f *fakeProcs) Space() (rootfs.Space, int64, error) { return rootfs.Space{}, 0, nil }

func (f *fakeProcs) Close(context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	return nil
}

type fakeTemplates struct{ server.Templates }

func (fakeTemplates) List() ([]server.Template, error) {
	return []server.Template{{Name: "default", OS: "Debian", User: "gilliam", Path: "/t"}}, nil
}

type fakeImages struct{}

func (fakeImages) Counts() rootfs.ImageCounts { return rootfs.ImageCounts{} }

func (fakeImages) List() ([]rootfs.StoredImage, error) { return nil, nil }

// machine is a place for daemons and clients of a test.
type machine struct {
	t     *testing.T
	procs *fakeProcs
	dir   string // the state folder
	node  *node
	env   map[string]string
}

func newMachine(t *testing.T) *machine {
	m := &machine{t: t, procs: &fakeProcs{port: 10007}, dir: filepath.Join(t.TempDir(), "state")}
	m.node = &node{procs: m.procs, templates: fakeTemplates{}, images: fakeImages{}, close: func() error { return nil }}
	m.env = map[string]string{"GILLIAM_STATE_DIR": m.dir}
	return m
}

// app is the program with this machine around it.
func (m *machine) app() (a *app, stdout, stderr *output) {
	stdout, stderr = newOutput(), newOutput()
	return &app{
		env: m.env, stdin: &bytes.Buffer{}, stdout: stdout, stderr: stderr,
		check: func() error { return nil }, readyTime: 5 * time.Second,
		open: func(*serveConfig, *metrics.Metrics, *slog.Logger) (*node, error) { return m.node, nil },
		adopt: func(_ context.Context, cfg adoptConfig) (server.Template, error) {
			return server.Template{Name: cfg.name, Path: filepath.Join(cfg.stateDir, "template")}, nil
		},
	}, stdout, stderr
}

// run runs the program to its end.
func (m *machine) run(ctx context.Context, args ...string) (status int, stdout, stderr string) {
	a, out, err := m.app()
	status = a.run(ctx, args)
	return status, out.String(), err.String()
}

// start runs a daemon until the test ends, or the returned stop is called.
func (m *machine) start(args ...string) (stop func() int, stderr *output) {
	m.t.Helper()
	ctx, cancel := context.WithCancel(m.t.Context())
	a, stdout, stderr := m.app()
	done := make(chan int, 1)
	go func() { done <- a.run(ctx, args) }() // owner: stop, which waits for it
	stop = sync.OnceValue(func() int { cancel(); return <-done })
	m.t.Cleanup(func() { stop() })
	ready := stderr
	if args[0] == "demo" {
		ready = stdout
	}
	select {
	case <-ready.has("ready"):
	case status := <-done:
		m.t.Fatalf("ended with %d:\n%s", status, stderr)
	case <-time.After(10 * time.Second):
		m.t.Fatalf("not ready:\n%s", stderr)
	}
	return stop, stderr
}

func (m *machine) serve() { m.start("serve", "--port", "0") }

func (f *fakeProcs) Plan(_ context.Context, r proc.Request) (isolate.Plan, error) {
	return isolate.Plan{ID: "planned", Hostname: r.App}, nil
}

func (f *fakeProcs) Callbacks() []proc.Callback        { return f.callbacks }
func (f *fakeProcs) CallbackStats() proc.CallbackStats { return proc.CallbackStats{} }

func (f *fakeProcs) RetryCallback(id string) (proc.Callback, error) {
	for _, c := range f.callbacks {
		if c.ID == id {
			return c, nil
		}
	}
	return proc.Callback{}, proc.ErrNoCallback
}

func (f *fakeProcs) RemoveCallback(id string) error {
	c, err := f.RetryCallback(id)
	if err == nil && c.State == "pending" {
		err = proc.ErrCallbackPending
	}
	return err
}

func (f *fakeProcs) PlanOf(id string) (isolate.Plan, error) { return isolate.Plan{ID: id}, nil }

func (f *fakeProcs) Verify(id string) ([]isolate.Difference, error) {
	p, err := f.find(id)
	if err != nil || p.App != "bent" {
		return nil, err
	}
	return []isolate.Difference{{Fact: "umask", Want: "0022", Got: "0000"}}, nil
}

func (f *fakeProcs) Audit(bool) ([]proc.Leak, error) { return nil, nil }
func (f *fakeProcs) Drain(context.Context) error     { return nil }
func (f *fakeProcs) Undrain()                        {}
