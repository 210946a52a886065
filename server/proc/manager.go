package proc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/gilliam/hypervisor/isolate"
	"github.com/gilliam/hypervisor/isolate/safely"
	"github.com/gilliam/hypervisor/rootfs"
	"github.com/gilliam/hypervisor/server/proc/applog"
	"github.com/gilliam/hypervisor/server/proc/lease"
	"github.com/gilliam/hypervisor/server/proc/outbox"
)

// A Manager owns every proc of one state folder. It is safe for concurrent use.
type Manager struct {
	cfg    Config
	log    *slog.Logger
	ports  *lease.Pool
	ids    *lease.Pool
	sink   *applog.Sink
	host   string
	bootID string
	opened time.Time // when this Manager was

	outbox *outbox.Outbox

	ctx        context.Context // of taking procs over: ends when Close runs out of time
	cancel     context.CancelFunc
	life       context.Context // ends when procs are left to the next hypervisor
	leave      context.CancelFunc
	leaving    <-chan struct{} // life's
	background sync.WaitGroup  // procs' lives and stops

	guard safely.Guard

	pinning sync.RWMutex // held while a template is removed, and for reading while a proc records which one it has

	ending    chan struct{} // closed when Close begins
	endingNow sync.Once

	arriving sync.RWMutex // held while a proc comes, to write when it has volumes; before mu

	mu       sync.Mutex
	procs    map[string]*instance
	coming   map[string]bool // procs that are being made
	leaked   map[string]int
	closing  bool
	draining bool // no new procs
	counts   Counts
}

// Counts are totals since the Manager was opened.
type Counts struct {
	Launches   map[string]uint64 // by outcome: "running" or "fail"
	Restarts   uint64            // begun
	Leaked     map[string]int    // what the last audit found, by kind; no total
	Refused    uint64            // requests for a new proc, for want of disk
	HeldBack   bool              // layers, for the same; no total
	LogDropped map[string]uint64 // lines of output, by what did not take them: "syslog"
	Volumes    int               // that there are; no total
	Pressure   map[string]uint64 // errors, by what the host had too little of: PressureKinds
}

// Open takes over a state folder. Procs that have not ended are what the
// hypervisor before has left: those that run are taken over, those that ended
// meanwhile are told of, and those that it was about to launch are launched.
func Open(cfg Config) (*Manager, error) {
	cfg = cfg.withDefaults()
	m := &Manager{
		cfg:    cfg,
		log:    cfg.Log,
		host:   cfg.Host,
		bootID: bootID(),
		opened: time.Now(),
		procs:  make(map[string]*instance),
		coming: make(map[string]bool),
		ending: make(chan struct{}),
		guard:  safely.Guard{Log: cfg.Log, Count: cfg.CountPanic},
		counts: Counts{
			Launches:   map[string]uint64{"running": 0, "fail": 0},
			LogDropped: map[string]uint64{},
			Pressure:   map[string]uint64{},
		},
	}
	m.ctx, m.cancel = context.WithCancel(context.Background())
	m.life, m.leave = context.WithCancel(context.Background())
	m.leaving = m.life.Done()
	if err := m.open(); err != nil {
		m.cancel()
		m.leave()
		return nil, errors.Join(err, m.closeShared(m.ctx))
	}
	return m, nil
}

func (c Config) withDefaults() Config {
	if c.RunDir == "" {
		c.RunDir = "/run/gilliam"
	}
	if c.BasePort == 0 {
		c.BasePort = 10000
	}
	if c.MaxProcs == 0 {
		c.MaxProcs = 100
	}
	if c.Host == "" {
		c.Host = fqdn()
	}
	if c.Grace == 0 {
		c.Grace = 8 * time.Second
	}
	if c.AuditEvery == 0 {
		c.AuditEvery = time.Minute
	}
	if c.Restarts.First == 0 {
		c.Restarts.First = time.Second
	}
	if c.Restarts.Most == 0 {
		c.Restarts.Most = 5 * time.Minute
	}
	if c.Reserve == (Reserve{}) {
		c.Reserve.Percent = 5
	}
	if c.LogSegment == 0 {
		c.LogSegment = 8 << 20
	}
	if c.LogRate == 0 {
		c.LogRate = 16 << 20
	}
	if c.KeepEnded == 0 {
		c.KeepEnded = 1000
	}
	if c.Client == nil {
		c.Client = &http.Client{
			Timeout:       10 * time.Second,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}
	}
	if c.OnPhase == nil {
		c.OnPhase = func(string, time.Duration) {}
	}
	if c.OnListening == nil {
		c.OnListening = func(time.Duration) {}
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

func (m *Manager) open() (err error) {
	if err := os.MkdirAll(m.procsDir(), 0o700); err != nil {
		return err
	}
	if err := m.openNumbers(); err != nil {
		return err
	}
	if m.sink, err = applog.OpenSink(m.cfg.LogSink, m.log); err != nil {
		return err
	}
	if err := m.openOutbox(); err != nil {
		return err
	}
	if err := m.recover(); err != nil {
		return err
	}
	m.outbox.Start(func(id string) bool {
		_, err := m.get(id)
		return err == nil
	})
	return nil
}

// closeShared gives back what is shared with other hypervisors, and the sink.
func (m *Manager) closeShared(ctx context.Context) error {
	var err error
	for _, p := range []*lease.Pool{m.ports, m.ids} {
		if p != nil {
			err = errors.Join(err, p.Close())
		}
	}
	if m.sink != nil {
		err = errors.Join(err, m.sink.Close(ctx))
	}
	return errors.Join(err, removeRunDir(m.cfg.RunDir))
}

func (m *Manager) procsDir() string { return filepath.Join(m.cfg.StateDir, "procs") }

// Create records a proc and begins to launch it. It returns while the proc is
// in state init. A request that is wrong in itself is a [FieldError]; what goes
// wrong later ends the proc in state fail with a reason.
func (m *Manager) Create(ctx context.Context, r Request) (Proc, error) {
	if err := ctx.Err(); err != nil {
		return Proc{}, err
	}
	r.Limits = m.withDefaults(r.Limits)
	if err := m.check(r); err != nil {
		return Proc{}, err
	}
	if err := m.checkSpace(m.missing(r.Mounts)); err != nil {
		if errors.Is(err, ErrDiskFull) {
			m.countRefused()
		}
		return Proc{}, err
	}
	return m.begin(r)
}

// check says what is wrong with the request, as a [FieldError].
func (m *Manager) check(r Request) error {
	if err := r.check(); err != nil {
		return err
	}
	if err := r.allowed(m.cfg.Policy); err != nil {
		return err
	}
	if err := m.cfg.Engine.Host().CheckLimits(r.Limits); err != nil {
		return fieldError(err)
	}
	if fsize := r.Limits.Rlimits.Fsize; fsize > 0 && fsize < m.cfg.LogSegment {
		return &FieldError{"limits.rlimits.fsize", fmt.Sprintf("must be at least %d bytes, a part of the proc's log", m.cfg.LogSegment)}
	}
	if r.Image != "" {
		if err := m.cfg.Images.Check(r.Image); err != nil {
			return &FieldError{"image", err.Error()}
		}
	}
	if r.ImageDigest != "" {
		if err := rootfs.CheckDigest(r.ImageDigest); err != nil {
			return &FieldError{"image_digest", err.Error()}
		}
		if r.Image == "" {
			return &FieldError{"image_digest", "must be empty when there is no image"}
		}
	}
	if err := rootfs.CheckTemplateRef(r.Template); err != nil {
		return &FieldError{"template", err.Error()}
	}
	return m.checkSources(r.Mounts)
}

// begin records the proc on disk, then shows it, then starts its life. It
// returns the proc as it was before that.
func (m *Manager) begin(r Request) (Proc, error) {
	arrived, err := m.arrive(r.Mounts)
	if err != nil {
		return Proc{}, err
	}
	defer arrived()
	m.mu.Lock()
	if m.closing || m.draining {
		defer m.mu.Unlock()
		if m.closing {
			return Proc{}, ErrClosed
		}
		return Proc{}, ErrDraining
	}
	m.background.Add(1) // under the lock: Close waits only after it set closing
	m.mu.Unlock()

	p := newProc(r, uuid.NewString())
	p.Config = mergeConfig(r.Config, 0, m.host)
	i := m.instanceOf(record{Proc: p, CallbackSecret: r.CallbackSecret})
	m.mu.Lock()
	m.coming[p.ID] = true
	m.mu.Unlock()
	if err := i.record(); err != nil {
		m.mu.Lock()
		delete(m.coming, p.ID)
		m.mu.Unlock()
		m.background.Done()
		return Proc{}, fmt.Errorf("record proc: %w", err)
	}
	m.mu.Lock()
	m.procs[p.ID] = i
	delete(m.coming, p.ID)
	m.mu.Unlock()
	i.log.Info("state", "state", p.State)
	begun := i.snapshot()
	// Owned by the Manager: ends when the proc has; Close waits for it.
	go func() {
		defer m.background.Done()
		i.live()
		m.prune()
	}()
	return begun, nil
}

// record makes the proc's folder, takes its numbers and writes its first record.
// That there are none left is told when it boots.
func (i *instance) record() error {
	if err := i.create(); err != nil {
		return err
	}
	err := i.change(func(r *record) error {
		if err := i.number(r); err != nil {
			i.log.Debug("no number yet", "err", err)
		}
		return nil
	})
	if err != nil {
		return errors.Join(err, i.release(), os.RemoveAll(i.dir))
	}
	return nil
}

// newProc is the proc that is asked for, with the defaults of what is not but its
// limits, which have them.
func newProc(r Request, id string) Proc {
	p := Proc{
		ID: id, App: r.App, Name: r.Name, Image: r.Image, ImageDigest: r.ImageDigest, Command: r.Command,
		Callback: r.Callback, Template: r.Template, Network: r.Network, Limits: r.Limits,
		Supervision: r.Supervision, User: r.User, Capabilities: slices.Clone(r.Capabilities), Seccomp: r.Seccomp,
		Mounts: slices.Clone(r.Mounts),
		State:  Init, Seq: 1, Created: time.Now().UTC(),
	}
	p.Changed = p.Created
	if p.User == rootUser && len(p.Capabilities) == 0 {
		p.Capabilities = slices.Clone(isolate.RootCapabilities)
	}
	if p.Template == "" && !rootfs.IsContainer(p.Image) {
		p.Template = "default"
	}
	if p.Network == "" {
		p.Network = isolate.NetworkHost
	}
	return p
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

// get finds a proc by its id.
func (m *Manager) get(id string) (*instance, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	i, ok := m.procs[id]
	if !ok {
		return nil, ErrNotExist
	}
	return i, nil
}

// Get returns one proc as it is now, or [ErrNotExist].
func (m *Manager) Get(id string) (Proc, error) {
	i, err := m.get(id)
	if err != nil {
		return Proc{}, err
	}
	p := i.snapshot()
	p.Callbacks = m.callbacksOf(p)
	return p, nil
}

// List returns every proc as it is now, the oldest first.
func (m *Manager) List() []Proc {
	m.mu.Lock()
	all := slices.Collect(maps.Values(m.procs))
	m.mu.Unlock()
	procs := make([]Proc, len(all))
	for n, i := range all {
		procs[n] = i.snapshot()
	}
	slices.SortFunc(procs, func(a, b Proc) int {
		if c := a.Created.Compare(b.Created); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	return procs
}

// Wait returns the proc once it is as is says, which is asked at each change and
// must do no more than look, or as it is when ctx ends, with ctx's error.
func (m *Manager) Wait(ctx context.Context, id string, is func(Proc) bool) (Proc, error) {
	i, err := m.get(id)
	if err != nil {
		return Proc{}, err
	}
	return i.waitFor(ctx, is)
}

// Logs calls fn with the proc's lines, until the end of what opt asks for, and
// returns fn's error. It returns nil when ctx ends.
func (m *Manager) Logs(ctx context.Context, id string, opt LogOptions, fn func(LogLine) error) error {
	i, err := m.get(id)
	if err != nil {
		return err
	}
	// Who follows hears nothing of a proc before it is said to run.
	if opt.Follow {
		if _, err := i.wait(ctx, func(s State) bool { return s != Init && s != Boot }); err != nil {
			return nil
		}
	}
	return applog.Read(ctx, i.dir, opt, i.over, fn)
}

// forward sends what the proc writes to the syslog receiver, if there is one.
func (m *Manager) forward(i *instance) {
	p := i.recorded().Proc
	m.sink.Forward(i.dir, p.App, p.Name, p.ID, i.over)
}

// Usage reads what a running proc uses. It returns [ErrNotRunning] for one
// that is not.
func (m *Manager) Usage(id string) (isolate.Usage, error) {
	i, err := m.get(id)
	if err != nil {
		return isolate.Usage{}, err
	}
	box := i.sandbox()
	if box == nil {
		return isolate.Usage{}, fmt.Errorf("%w: it is in state %s", ErrNotRunning, i.snapshot().State)
	}
	return box.Usage()
}

// guarded is f for a goroutine of its own: a panic in it is logged and counted, and
// ends nothing else.
func (m *Manager) guarded(f func()) func() {
	return func() { m.guard.Run("proc", f) }
}

// isLeaving tells whether procs are being left to the next hypervisor.
func (m *Manager) isLeaving() bool { return m.life.Err() != nil }

// Counts returns the totals so far.
func (m *Manager) Counts() Counts {
	volumes, err := m.cfg.Volumes.Count()
	if err != nil {
		m.log.Error("count volumes", "err", err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	c := m.counts
	c.Volumes = volumes
	c.Launches = maps.Clone(c.Launches)
	c.LogDropped = maps.Clone(c.LogDropped)
	c.Leaked = maps.Clone(m.leaked)
	c.Pressure = maps.Clone(m.counts.Pressure)
	c.LogDropped["syslog"] = m.sink.Lost()
	return c
}

func (m *Manager) countRefused() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.counts.Refused++
}

func (m *Manager) countRestart() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.counts.Restarts++
}

func (m *Manager) countLaunch(outcome string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.counts.Launches[outcome]++
}
