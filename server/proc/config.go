package proc

import (
	"log/slog"
	"net/http"
	"time"

	"github.com/gilliam/hypervisor/isolate"
	"github.com/gilliam/hypervisor/rootfs"
)

// Config wires a [Manager] to the rooms it works with. Every field without a
// zero value named is required.
type Config struct {
	// StateDir holds procs/<id>/ with the record and the log of each proc. It
	// is made when missing, mode 0700.
	StateDir string

	// RunDir holds the leases by which several hypervisors share the machine's
	// ports and ids. Empty means /run/gilliam.
	RunDir string

	Templates *rootfs.Templates
	Images    *rootfs.Images
	Layers    *rootfs.Layers
	Engine    *isolate.Engine

	// Builds are those of templates that were killed. Nil means that there are none.
	Builds Leftovers

	// Volumes and BindDirs are what mounts of procs may show.
	Volumes  *rootfs.Volumes
	BindDirs *rootfs.BindDirs

	// Policy is what requests may ask for beyond the defaults. The zero Policy
	// allows nothing of it.
	Policy isolate.Policy

	// BasePort is the first port of the pool and MaxProcs their number, and
	// so the most procs that run at once. Zero means 10000 and 100.
	BasePort int
	MaxProcs int

	// Reserve is what new procs leave free of the file system of the layers. Zero
	// means 5 percent.
	Reserve Reserve

	// Host is the value of HOST in every app's environment. Empty means the
	// machine's fully qualified name.
	Host string

	// LogSink is the syslog address that the apps' output also goes to:
	// udp://host:port, tcp://host:port or unix:///path. Empty means none.
	LogSink string

	// LogSegment is the most bytes of each of the two files of a proc's log, and
	// LogRate how many bytes of output a second are kept; what is beyond is
	// dropped and counted. Zero means 8 MiB and 16 MiB.
	LogSegment, LogRate int64

	// StopOnExit makes Close stop every proc. Otherwise they go on, for the next
	// hypervisor to take over.
	StopOnExit bool

	// Restarts is how long a proc waits before it is started again. Zero means 1 s
	// at first and 5 min at most.
	Restarts Backoff

	// AuditEvery is how often what is on this machine is compared with the records,
	// and what is nobody's removed. Zero means every minute.
	AuditEvery time.Duration

	// Grace is how long a stop waits from the first SIGTERM to SIGKILL when
	// the request does not say. Zero means 8 s, as the original.
	Grace time.Duration

	// KeepEnded is how many ended procs are kept to be looked at; the oldest
	// are disposed of first. Zero means 1000.
	KeepEnded int

	// Client sends the callbacks. It must not follow redirects. Nil means one
	// with a 10 s timeout.
	Client HTTPClient

	// CallbackSecrets sign the callbacks of procs that bring no secret of their
	// own. None means that those are not signed.
	CallbackSecrets []Secret

	// CallbackGiveUp is how long a callback is tried before it is a dead
	// letter. Zero means 24 h.
	CallbackGiveUp time.Duration

	// CallbackBackoff is the longest wait between two attempts. Zero means
	// 5 min.
	CallbackBackoff time.Duration

	// OnPhase is told how long each phase of a launch took. Nil means no one.
	OnPhase func(phase string, took time.Duration)

	// OnListening is told how long after its start a proc listened on its port.
	// Nil means no one.
	OnListening func(took time.Duration)

	// CountPanic is told where a panic was caught. Nil means no one.
	CountPanic func(where string)

	// Log is where state changes are logged. Nil means nowhere.
	Log *slog.Logger
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
