package metrics

import (
	"log/slog"
	"net/http"
	"runtime"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Build says which hypervisor this is.
type Build struct {
	Version string
	Commit  string
}

// Metrics is a registry of its own with all that the hypervisor shows.
type Metrics struct {
	registry *prometheus.Registry
	phases   *prometheus.HistogramVec
	listens  prometheus.Histogram
	panics   *prometheus.CounterVec
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
}

// phaseBuckets reach from the fastest part of a launch to the slowest download.
var phaseBuckets = []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60}

// listenBuckets reach from a small static server to one that loads for minutes.
var listenBuckets = []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120, 300}

// requestBuckets reach from a lookup to a wait; log streams are beyond.
var requestBuckets = []float64{.0005, .001, .005, .01, .05, .1, .5, 1, 5, 10, 30, 60}

// New makes a registry that knows the build, this process and what is observed.
func New(b Build) *Metrics { return newMetrics(b, prometheus.NewRegistry()) }

func newMetrics(b Build, r *prometheus.Registry) *Metrics {
	m := &Metrics{
		registry: r,
		phases: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "gilliam_proc_launch_phase_duration_seconds", Help: "How long each phase of a launch took.", Buckets: phaseBuckets,
		}, []string{"phase"}),
		listens: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "gilliam_proc_listen_seconds", Help: "How long after its start a proc listened on its port.", Buckets: listenBuckets,
		}),
		panics: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gilliam_panics_total", Help: "Panics that were caught, by where: bugs, each with its stack in the log.",
		}, []string{"where"}),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gilliam_http_requests_total", Help: "Answered requests, by the pattern of their route.",
		}, []string{"method", "route", "code"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "gilliam_http_request_duration_seconds", Help: "How long requests took, by the pattern of their route.", Buckets: requestBuckets,
		}, []string{"method", "route"}),
	}
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "gilliam_build_info", Help: "Always 1; the labels say which hypervisor this is.",
		ConstLabels: prometheus.Labels{"version": b.Version, "commit": b.Commit, "goversion": runtime.Version()},
	})
	build.Set(1)
	r.MustRegister(m.phases, m.listens, m.panics, m.requests, m.duration, build,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Watch adds what the procs and the images count. It is called once.
func (m *Metrics) Watch(procs Procs, images Images) {
	m.registry.MustRegister(newCollector(procs, images, m.CountPanic))
}

// ObservePhase is told how long a phase of a launch took.
func (m *Metrics) ObservePhase(phase string, took time.Duration) {
	m.phases.WithLabelValues(phase).Observe(took.Seconds())
}

// ObserveListening is told how long after its start a proc listened on its port.
func (m *Metrics) ObserveListening(took time.Duration) { m.listens.Observe(took.Seconds()) }

// ObserveRequest is told of an answered request. Route must be a pattern, never
// a path: each value is a time series for good.
func (m *Metrics) ObserveRequest(method, route string, status int, took time.Duration) {
	m.requests.WithLabelValues(method, route, strconv.Itoa(status)).Inc()
	m.duration.WithLabelValues(method, route).Observe(took.Seconds())
}

// CountPanic is told that a panic was caught. Where is one of a few words of the
// program's own.
func (m *Metrics) CountPanic(where string) { m.panics.WithLabelValues(where).Inc() }

// Handler serves the registry. What cannot be collected is left out and logged;
// the rest is still served.
func (m *Metrics) Handler(log *slog.Logger) http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		ErrorLog:      slog.NewLogLogger(log.Handler(), slog.LevelWarn),
		ErrorHandling: promhttp.ContinueOnError,
		// More than one scraper at a time is a mistake of theirs, and each
		// reads the cgroups of every proc.
		MaxRequestsInFlight: 4,
		Timeout:             10 * time.Second,
	})
}
