package proc

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
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
	"golang.org/x/sys/unix"

	"github.com/gilliam/hypervisor/isolate"
)

// idsEach is how many host ids each sandbox gets, and idsBase where the first
// range begins: beyond the ids that systemd gives to containers and users, and
// below 2^31, which some programs cannot count past (UIDS-GIDS of systemd).
const (
	idsEach  = 1 << 16
	idsBase  = 0x70000000
	idRanges = (0x7fff0000 - idsBase) / idsEach
)

// A Manager owns every proc of one state folder. It is safe for concurrent use.
type Manager struct {
	cfg   Config
	log   *slog.Logger
	ports *pool
	ids   *pool
	sink  *syslogSink
	host  string

	ctx        context.Context // of callbacks: ends when Close runs out of time
	cancel     context.CancelFunc
	background sync.WaitGroup // procs' lives and stops
	callbacks  sync.WaitGroup

	mu      sync.Mutex
	procs   map[string]*instance
	closing bool
	counts  Counts
}

// Counts are totals since the Manager was opened.
type Counts struct {
	Launches   map[string]uint64 // by outcome: "running" or "fail"
	Callbacks  map[string]uint64 // by outcome: "delivered" or "failed"
	LogDropped map[string]uint64 // lines of output, by what did not take them: "file" or "syslog"
}

// Open takes over a state folder. Procs that were not ended are what a
// hypervisor that died has left: their sandboxes have ended with it, what is
// left of them is removed, and they are marked as failed.
func Open(cfg Config) (*Manager, error) {
	cfg = cfg.withDefaults()
	m := &Manager{
		cfg:   cfg,
		log:   cfg.Log,
		host:  cfg.Host,
		procs: make(map[string]*instance),
		counts: Counts{
			Launches:   map[string]uint64{"running": 0, "fail": 0},
			Callbacks:  map[string]uint64{"delivered": 0, "failed": 0},
			LogDropped: map[string]uint64{"file": 0},
		},
	}
	m.ctx, m.cancel = context.WithCancel(context.Background())
	if err := m.open(); err != nil {
		m.cancel()
		return nil, errors.Join(err, m.closePools())
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
	if c.KeepEnded == 0 {
		c.KeepEnded = 1000
	}
	if c.Client == nil {
		c.Client = &http.Client{Timeout: callbackTimeout}
	}
	if c.OnPhase == nil {
		c.OnPhase = func(string, time.Duration) {}
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

func (m *Manager) open() (err error) {
	if m.cfg.BasePort < 1 || m.cfg.MaxProcs < 1 || m.cfg.BasePort+m.cfg.MaxProcs-1 > 65535 {
		return fmt.Errorf("pool of ports %d+%d: must lie in 1 to 65535", m.cfg.BasePort, m.cfg.MaxProcs)
	}
	if err := os.MkdirAll(m.procsDir(), 0o700); err != nil {
		return err
	}
	base := m.cfg.BasePort
	free := func(n int) bool { return portFree(base + n) }
	if m.ports, err = openPool(filepath.Join(m.cfg.RunDir, "ports.lock"), int64(base), m.cfg.MaxProcs, free); err != nil {
		return err
	}
	if m.ids, err = openPool(filepath.Join(m.cfg.RunDir, "ids.lock"), 0, idRanges, nil); err != nil {
		return err
	}
	m.ids.again = true // the engine keeps a user namespace for each range that was used
	if m.sink, err = openSyslog(m.cfg.LogSink); err != nil {
		return err
	}
	return m.recover()
}

func (m *Manager) closePools() error {
	var err error
	for _, p := range []*pool{m.ports, m.ids} {
		if p != nil {
			err = errors.Join(err, p.close())
		}
	}
	m.sink.close()
	// Ours when it is empty; what else is in it is someone else's.
	if rmErr := os.Remove(m.cfg.RunDir); rmErr != nil && !errors.Is(rmErr, unix.ENOTEMPTY) && !errors.Is(rmErr, fs.ErrNotExist) {
		err = errors.Join(err, rmErr)
	}
	return err
}

func (m *Manager) procsDir() string { return filepath.Join(m.cfg.StateDir, "procs") }

// Create records a proc and begins to launch it. It returns while the proc is
// in state init. A request that is wrong in itself is a [FieldError]; what goes
// wrong later ends the proc in state fail with a reason.
func (m *Manager) Create(ctx context.Context, r Request) (Proc, error) {
	if err := ctx.Err(); err != nil {
		return Proc{}, err
	}
	if err := m.check(r); err != nil {
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
	if r.Image != "" {
		if err := m.cfg.Images.Check(r.Image); err != nil {
			return &FieldError{"image", err.Error()}
		}
	}
	return nil
}

// begin records the proc on disk, then shows it, then starts its life. It
// returns the proc as it was before that.
func (m *Manager) begin(r Request) (Proc, error) {
	m.mu.Lock()
	if m.closing {
		m.mu.Unlock()
		return Proc{}, ErrClosed
	}
	m.background.Add(1) // under the lock: Close waits only after it set closing
	m.mu.Unlock()

	p := newProc(r, uuid.NewString())
	port, portErr := m.ports.lease()
	if portErr == nil {
		p.Port = m.cfg.BasePort + port
	}
	p.Config = mergeConfig(r.Config, p.Port, m.host)
	i := m.instanceOf(p)
	if err := i.create(); err != nil {
		if portErr == nil {
			m.ports.release(port)
		}
		m.background.Done()
		return Proc{}, fmt.Errorf("record proc: %w", err)
	}
	m.mu.Lock()
	m.procs[p.ID] = i
	m.mu.Unlock()
	i.log.Info("state", "state", p.State)
	i.notify.tell(p)
	begun := i.snapshot()
	// Owned by the Manager: ends when the proc has; Close waits for it.
	go func() {
		defer m.background.Done()
		i.live(portErr)
		m.prune()
	}()
	return begun, nil
}

// newProc is the proc that is asked for, with the defaults of what is not.
func newProc(r Request, id string) Proc {
	p := Proc{
		ID: id, App: r.App, Name: r.Name, Image: r.Image, Command: r.Command,
		Callback: r.Callback, Template: r.Template, Network: r.Network, Limits: withDefaults(r.Limits),
		User: r.User, Capabilities: slices.Clone(r.Capabilities), Seccomp: r.Seccomp,
		State: Init, Created: time.Now().UTC(),
	}
	if p.User == rootUser && len(p.Capabilities) == 0 {
		p.Capabilities = slices.Clone(isolate.RootCapabilities)
	}
	if p.Template == "" {
		p.Template = "default"
	}
	if p.Network == "" {
		p.Network = isolate.NetworkHost
	}
	return p
}

// withDefaults are the limits with those that every proc has.
func withDefaults(l Limits) Limits {
	if l.Memory == 0 {
		l.Memory = isolate.DefaultMemory
	}
	if l.Pids == 0 {
		l.Pids = isolate.DefaultPids
	}
	return l
}

func (m *Manager) instanceOf(p Proc) *instance {
	log := m.log.With("proc", p.ID, "app", p.App, "name", p.Name)
	ctx, cancel := context.WithCancel(context.Background())
	return &instance{
		m:    m,
		dir:  filepath.Join(m.procsDir(), p.ID),
		log:  log,
		boot: ctx, cancelBoot: cancel,
		notify: &notifier{
			ctx: m.ctx, client: m.cfg.Client, url: p.Callback, log: log, count: m.countCallback, idle: &m.callbacks,
		},
		p:       p,
		changed: make(chan struct{}),
	}
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
	return i.snapshot(), nil
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

// Wait returns the proc when it has ended, or as it is when ctx ends, with
// ctx's error.
func (m *Manager) Wait(ctx context.Context, id string) (Proc, error) {
	i, err := m.get(id)
	if err != nil {
		return Proc{}, err
	}
	return i.wait(ctx, State.Ended)
}

// Logs calls fn with the proc's lines, until the end of what opt asks for, and
// returns fn's error. It returns nil when ctx ends.
func (m *Manager) Logs(ctx context.Context, id string, opt LogOptions, fn func(LogLine) error) error {
	i, err := m.get(id)
	if err != nil {
		return err
	}
	// The log begins when the proc boots.
	if opt.Follow {
		if _, err := i.wait(ctx, func(s State) bool { return s != Init && s != Boot }); err != nil {
			return nil
		}
	}
	return i.logs().read(ctx, opt, fn)
}

// Usage reads what a running proc uses. It returns [isolate.ErrEnded] for one
// that is not running.
func (m *Manager) Usage(id string) (isolate.Usage, error) {
	i, err := m.get(id)
	if err != nil {
		return isolate.Usage{}, err
	}
	box := i.sandbox()
	if box == nil {
		return isolate.Usage{}, isolate.ErrEnded
	}
	return box.Usage()
}

// Counts returns the totals so far.
func (m *Manager) Counts() Counts {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := m.counts
	c.Launches = maps.Clone(c.Launches)
	c.Callbacks = maps.Clone(c.Callbacks)
	c.LogDropped = maps.Clone(c.LogDropped)
	c.LogDropped["syslog"] = m.sink.dropped()
	return c
}

func (m *Manager) countCallback(outcome string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.counts.Callbacks[outcome]++
}

func (m *Manager) countLaunch(outcome string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.counts.Launches[outcome]++
}

func (m *Manager) countDropped(lines int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.counts.LogDropped["file"] += uint64(lines)
}
