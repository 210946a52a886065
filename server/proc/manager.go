package proc

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/gilliam/hypervisor/isolate/safely"
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

	disposals singleflight.Group // by id

	arriving sync.RWMutex // held while a proc comes, to write when it has volumes; before mu

	mu       sync.Mutex
	procs    map[string]*instance
	coming   map[string]bool // procs that are being made
	going    map[string]bool // procs that are being removed
	leaked   map[string]int
	closing  bool
	draining bool // no new procs
	counts   Counts
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
		going:  make(map[string]bool),
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

// guarded is f for a goroutine of its own: a panic in it is logged and counted, and
// ends nothing else.
func (m *Manager) guarded(f func()) func() {
	return func() { m.guard.Run("proc", f) }
}

// isLeaving tells whether procs are being left to the next hypervisor.
func (m *Manager) isLeaving() bool { return m.life.Err() != nil }
