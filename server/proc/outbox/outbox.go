package outbox

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/gilliam/hypervisor/isolate/failpoint"
	"github.com/gilliam/hypervisor/isolate/safely"
)

// An HTTPClient sends requests; *http.Client is one. It must not follow
// redirects.
type HTTPClient interface {
	Do(*http.Request) (*http.Response, error)
}

// Config wires an [Outbox]. Every field without a zero value named is required.
type Config struct {
	Dir      string // of the files; made when missing, mode 0700
	SetAside string // folder that files go to which cannot be read

	Client HTTPClient

	// Secrets sign what is sent to targets without one of their own. None
	// means that it is not signed.
	Secrets []Secret

	// GiveUpAfter is how long an event is tried before it is a dead letter.
	// Zero means 24 h.
	GiveUpAfter time.Duration

	// MaxBackoff is the longest wait between two attempts, but for what a
	// receiver asks. Zero means 5 min.
	MaxBackoff time.Duration

	// Log is told of attempts and files that went wrong. Nil means no one.
	Log *slog.Logger

	// Guard is told of panics, each of which is a failed attempt and no more.
	Guard safely.Guard

	limits limits
	clock  clock
	random func() float64
	disk   disk
}

// limits are what a test must shorten.
type limits struct {
	perProc int           // events of a proc
	all     int           // events of all
	flights int           // attempts under way
	perHost int           // of them to one host
	timeout time.Duration // of an attempt
	rewrite int           // bytes that a file may grow by before it is written anew
}

// A clock is time, or a test's.
type clock interface {
	Now() time.Time
	// AfterFunc is time.AfterFunc; the function it returns is the timer's Stop.
	AfterFunc(time.Duration, func()) (stop func() bool)
}

type realClock struct{}

func (realClock) Now() time.Time { return time.Now() }

func (realClock) AfterFunc(d time.Duration, f func()) func() bool { return time.AfterFunc(d, f).Stop }

func (c Config) withDefaults() Config {
	setDefault(&c.GiveUpAfter, 24*time.Hour)
	setDefault(&c.MaxBackoff, 5*time.Minute)
	setDefault(&c.limits.perProc, 1000)
	setDefault(&c.limits.all, 50_000)
	setDefault(&c.limits.flights, 64)
	setDefault(&c.limits.perHost, 8)
	setDefault(&c.limits.timeout, 10*time.Second) // the original's
	setDefault(&c.limits.rewrite, 64<<10)
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.clock == nil {
		c.clock = realClock{}
	}
	if c.random == nil {
		c.random = rand.Float64
	}
	if c.disk == nil {
		c.disk = folder(c.Dir)
	}
	return c
}

func setDefault[T comparable](v *T, to T) {
	var zero T
	if *v == zero {
		*v = to
	}
}

// An Outbox tells receivers of procs' events. It is safe for concurrent use.
//
// A box is changed by who holds its w, in two steps: on disk, then under mu.
type Outbox struct {
	cfg  Config
	disk disk

	ctx     context.Context // of the attempts: ends when Close runs out of time
	cancel  context.CancelFunc
	flights sync.WaitGroup

	mu      sync.Mutex
	boxes   map[string]*box // by their procs
	plan    *schedule
	timer   func() bool // stops what wakes us for the next attempt; nil: nothing does
	started bool
	drained chan struct{} // from Close on: closed when nothing is due
	stopped bool          // nothing more is sent
	total   int           // events in all boxes
	counts  Counts
}

// Open reads the events that wait, and sends none before [Outbox.Start]. A file
// that cannot be read is set aside and logged; it is an error only when the
// folder itself cannot be used.
func Open(cfg Config) (*Outbox, error) {
	cfg = cfg.withDefaults()
	o := &Outbox{
		cfg: cfg, disk: cfg.disk, boxes: map[string]*box{},
		plan: newSchedule(cfg.limits.flights, cfg.limits.perHost),
	}
	o.ctx, o.cancel = context.WithCancel(context.Background())
	files := folder(cfg.Dir)
	all, err := files.load()
	if err != nil {
		o.cancel()
		return nil, fmt.Errorf("open outbox: %w", err)
	}
	for _, f := range all {
		o.take(files, f)
	}
	return o, nil
}

// take takes over what was found on disk.
func (o *Outbox) take(files folder, f found) {
	log := o.cfg.Log.With("path", files.path(f.name))
	if len(f.damage) > 0 {
		to, err := files.setAside(o.cfg.SetAside, f.name, f.box != nil)
		log.Error("set aside a file of callbacks that cannot be read", "to", to, "readable_part_used", f.box != nil, "why", f.why(), "err", err)
	} else if f.torn {
		log.Warn("dropped the end of a file of callbacks, which a crash had cut off")
	}
	if f.box == nil {
		return
	}
	f.box.rebase(o.cfg.clock.Now(), max(o.cfg.MaxBackoff, maxRetryAfter))
	o.boxes[f.box.proc] = f.box
	o.total += len(f.box.entries)
	if f.box.stale { // so that it is not found damaged again
		f.box.w.Lock()
		defer f.box.w.Unlock()
		if err := o.write(f.box, true); err != nil {
			log.Error("write callbacks anew", "err", err)
		}
	}
}

// Append takes an event to be told to the target. It is durable when this
// returns nil. An event that is not newer than the proc's last is left out. When
// the disk fails the event is told all the same, and written with the next
// change that the disk takes.
func (o *Outbox) Append(t Target, e Event) error {
	if t.URL == "" || e.Seq == 0 {
		return nil
	}
	b := o.boxOf(e.Proc, t)
	o.makeRoom(b)
	b.w.Lock()
	defer b.w.Unlock()
	o.mu.Lock()
	had := e.Seq <= b.last
	o.mu.Unlock()
	if had {
		return nil
	}
	if err := o.write(b, true, line{Kind: kindEvent, Event: &e, At: o.cfg.clock.Now()}); err != nil {
		return fmt.Errorf("write callback %s: %w", id(e.Proc, e.Seq), err)
	}
	failpoint.Hit("outbox.appended")
	return nil
}

// boxOf is the proc's box, new when it has none.
func (o *Outbox) boxOf(proc string, t Target) *box {
	o.mu.Lock()
	defer o.mu.Unlock()
	b := o.boxes[proc]
	if b == nil {
		b = newBox()
		if err := b.apply(line{Kind: kindBox, Version: version, Proc: proc, Target: &t}); err != nil {
			panic("bug: " + err.Error())
		}
		o.boxes[proc] = b
	}
	return b
}
