package server

import (
	"context"
	"crypto/rand"
	"log/slog"
	"net/http"
	"net/netip"
	"time"

	"github.com/gilliam/hypervisor/isolate"
	"github.com/gilliam/hypervisor/server/proc"
)

// Procs is what the API needs of the procs; *proc.Manager has it.
type Procs interface {
	Create(ctx context.Context, req proc.Request) (proc.Proc, error)
	Get(id string) (proc.Proc, error)
	List() []proc.Proc
	Stop(ctx context.Context, id string, grace time.Duration) (proc.Proc, error)
	Remove(ctx context.Context, id string, grace time.Duration) error
	Wait(ctx context.Context, id string, is func(proc.Proc) bool) (proc.Proc, error)
	Logs(ctx context.Context, id string, opt proc.LogOptions, fn func(proc.LogLine) error) error

	Plan(ctx context.Context, req proc.Request) (isolate.Plan, error)
	PlanOf(id string) (isolate.Plan, error)
	Verify(id string) ([]isolate.Difference, error)
	Usage(id string) (isolate.Usage, error)

	Audit(repair bool) ([]proc.Leak, error)
	Drain(ctx context.Context) error
	Undrain()

	Volumes() ([]proc.Volume, error)
	Volume(name string) (proc.Volume, error)
	CreateVolume(name string, size int64) (proc.Volume, error)
	RemoveVolume(name string) error

	Images() ([]proc.Image, error)
	Image(digest string) (proc.Image, error)
	RemoveImage(digest string) error
	CollectImages(keep int64) (proc.ImagesRemoved, error)
	VerifyImage(ctx context.Context, digest string) (proc.ImageVerdict, error)

	Callbacks() []proc.Callback
	RetryCallback(id string) (proc.Callback, error)
	RemoveCallback(id string) error
}

// Version is what GET /v1/version answers.
type Version struct {
	Version string `json:"version"`
	Commit  string `json:"commit"`
	Go      string `json:"go"`
}

// DefaultMaxConns is how many connections a listener may have open.
const DefaultMaxConns = 4096

// Config wires a [Server]. Procs and Templates are required.
type Config struct {
	Procs     Procs
	Templates Templates
	Version   Version

	// Token is what a TCP client must carry. Empty means that no TCP request
	// which needs a token is let in.
	Token string

	// InsecureTCP lets every TCP client in, without a token.
	InsecureTCP bool

	// AllowedHosts are further names that a TCP request's Host header may
	// hold, without a port.
	AllowedHosts []string

	// Listen is the address of the TCP listener, as a further allowed host.
	Listen netip.Addr

	// Metrics serves /metrics. Nil means that there is none.
	Metrics http.Handler

	// Remarks are what is to be said of the host.
	Remarks []isolate.Remark

	// Observe is told of every answered request; route is a pattern of the
	// route table or "other". Nil means no one.
	Observe func(method, route string, status int, took time.Duration)

	// CountPanic is told where a panic was caught. Nil means no one.
	CountPanic func(where string)

	// Log gets unknown errors, panics and, at Debug, each request. Nil means
	// nowhere.
	Log *slog.Logger

	// MaxConns bounds the open connections of each listener. Zero means
	// [DefaultMaxConns].
	MaxConns int

	// Drain is how long Serve waits for requests at the end. Zero means 10 s.
	Drain time.Duration

	timeouts timeouts
}

// timeouts are what a test must shorten; withDefaults fills them.
type timeouts struct {
	header time.Duration // from the first byte of a request to the end of its header
	body   time.Duration // for the whole body
	idle   time.Duration // between the requests of a connection
	write  time.Duration // for an answer that is not a stream, or a batch of one that is
	batch  time.Duration // how long a log line may wait for more before it is sent
}

func (c Config) withDefaults() Config {
	if c.Token == "" { // a token that no one knows
		c.Token = rand.Text()
	}
	if c.Observe == nil {
		c.Observe = func(string, string, int, time.Duration) {}
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.MaxConns == 0 {
		c.MaxConns = DefaultMaxConns
	}
	setDefault(&c.Drain, 10*time.Second)
	setDefault(&c.timeouts.header, 5*time.Second)
	setDefault(&c.timeouts.body, 15*time.Second)
	setDefault(&c.timeouts.idle, 30*time.Second)
	setDefault(&c.timeouts.write, 30*time.Second)
	setDefault(&c.timeouts.batch, 20*time.Millisecond)
	return c
}

func setDefault(d *time.Duration, to time.Duration) {
	if *d == 0 {
		*d = to
	}
}
