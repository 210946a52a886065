package metrics

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/gilliam/hypervisor/isolate"
	"github.com/gilliam/hypervisor/rootfs"
	"github.com/gilliam/hypervisor/server/proc"
	"github.com/gilliam/hypervisor/server/proc/outbox"
)

type fakeProcs struct {
	procs  []proc.Proc
	usage  map[string]isolate.Usage
	counts proc.Counts
	panic  any // panicked with by Usage, when set
	calls  proc.CallbackStats
}

var errCgroup = errors.New("read memory.current: input/output error")

func (f fakeProcs) List() []proc.Proc   { return f.procs }
func (f fakeProcs) Counts() proc.Counts { return f.counts }

func (f fakeProcs) Space() (rootfs.Space, int64, error) {
	return rootfs.Space{Size: 1 << 40, Free: 1 << 39}, 1 << 30, nil
}

func (f fakeProcs) CallbackStats() proc.CallbackStats { return f.calls }

func (f fakeProcs) Usage(id string) (isolate.Usage, error) {
	if f.panic != nil {
		panic(f.panic)
	}
	switch u, ok := f.usage[id]; {
	case ok:
		return u, nil
	case id == "gone":
		return u, fmt.Errorf("usage: %w", proc.ErrNotExist)
	default:
		return u, errCgroup
	}
}

type fakeImages rootfs.ImageCounts

func (f fakeImages) Counts() rootfs.ImageCounts { return rootfs.ImageCounts(f) }

func (f fakeImages) List() ([]rootfs.StoredImage, error) {
	if f.Hits == 0 {
		return nil, nil
	}
	return []rootfs.StoredImage{{Disk: 100, UsedBy: []string{"p"}}, {Disk: 10}, {Disk: 1}}, nil
}

var busy = fakeProcs{
	procs: []proc.Proc{
		{ID: "b", App: "blog", Name: "boot.1", State: proc.Boot},
		{ID: "r1", App: "blog", Name: "web.1", State: proc.Running},
		{ID: "r2", App: "\xffshop \"x\"\\\n", Name: "web.1", State: proc.Running},
		{ID: "gone", App: "blog", Name: "web.2", State: proc.Running},
		{ID: "broken", App: "blog", Name: "web.3", State: proc.Running},
		{ID: "f", App: "blog", Name: "not utf-8: \xff", State: proc.Fail},
	},
	usage: map[string]isolate.Usage{
		"r1": {CPU: 1500 * time.Millisecond, Memory: 64 << 20, MemoryLimit: 1 << 30, Pids: 3, Disk: 8192, DiskLimit: 1 << 30, Inodes: 12, InodesLimit: 65536,
			Volumes: []isolate.VolumeUsage{{Target: "/db", Disk: 4096, DiskLimit: 16 << 20, Inodes: 11, InodesLimit: 1024}}},
		"r2": {CPU: time.Millisecond, Memory: 4096, MemoryLimit: 16 << 20, Pids: 1},
	},
	counts: proc.Counts{Launches: map[string]uint64{"running": 5, "fail": 1}, LogDropped: map[string]uint64{"file": 42}, Volumes: 4, Pressure: map[string]uint64{"files": 6}},
	calls:  proc.CallbackStats{Counts: outbox.Counts{Delivered: 7, Failed: 5, GivenUp: 2, Dropped: 1, WriteErrors: 3}, Pending: 4, Dead: 2, Oldest: 90 * time.Second},
}

func golden(t *testing.T, name string) *os.File {
	t.Helper()
	f, err := os.Open("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func TestCollector(t *testing.T) {
	c := newCollector(busy, fakeImages{Hits: 3, Fetched: 2, Failed: 1, Bytes: 1000, Evicted: 4, Quarantined: 5, Stale: 6, Healed: 7, Unhealed: 8}, nil)
	if err := testutil.CollectAndCompare(c, golden(t, "busy.prom")); err != nil {
		t.Error(err)
	}
	if problems, err := testutil.CollectAndLint(c); err != nil || len(problems) > 0 {
		t.Error(problems, err)
	}
	if err := testutil.CollectAndCompare(newCollector(fakeProcs{}, fakeImages{}, nil), golden(t, "idle.prom")); err != nil {
		t.Error(err)
	}
}

func TestObserved(t *testing.T) {
	r := prometheus.NewPedanticRegistry()
	m := newMetrics(Build{"1.2.3", "abc"}, r)
	m.Watch(busy, fakeImages{})
	m.ObservePhase("image", 700*time.Microsecond)
	m.ObservePhase("image", 2*time.Minute)
	m.ObserveRequest("GET", "/v1/procs/:id", 404, 3*time.Millisecond)
	m.ObserveListening(300 * time.Millisecond)
	m.CountPanic("http")
	names := []string{"gilliam_panics_total", "gilliam_proc_launch_phase_duration_seconds", "gilliam_proc_listen_seconds", "gilliam_http_requests_total", "gilliam_http_request_duration_seconds"}
	if err := testutil.GatherAndCompare(r, golden(t, "observed.prom"), names...); err != nil {
		t.Error(err)
	}
	if problems, err := testutil.GatherAndLint(r); err != nil || len(problems) > 0 {
		t.Error(problems, err)
	}
}

func TestHandler(t *testing.T) {
	m := New(Build{"1.2.3", "abc"})
	m.Watch(busy, fakeImages{})
	rec := httptest.NewRecorder()
	m.Handler(slog.New(slog.DiscardHandler)).ServeHTTP(rec, httptest.NewRequest("GET", "/metrics", nil))
	if rec.Code != http.StatusOK {
		t.Fatalf("got %d %s", rec.Code, rec.Body)
	}
	for _, want := range []string{
		`gilliam_build_info{commit="abc",goversion="go1.`, `gilliam_procs{state="init"} 0`, `gilliam_procs{state="running"} 4`,
		"go_goroutines ", "process_open_fds ", `gilliam_proc_memory_bytes{app="blog",id="r1",name="web.1"} 6.7108864e+07`,
	} {
		if !strings.Contains(rec.Body.String(), want) {
			t.Errorf("no %s", want)
		}
	}
}

// A panic while the procs are asked costs what they would have said, and no more.
func TestPanic(t *testing.T) {
	var log strings.Builder
	m := New(Build{})
	m.Watch(fakeProcs{procs: busy.procs, usage: map[string]isolate.Usage{"r1": {}}, panic: "ouch"}, fakeImages{})
	h := m.Handler(slog.New(slog.NewTextHandler(&log, nil)))
	for n := range 2 {
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, httptest.NewRequest("GET", "/metrics", nil))
		if rec.Code != http.StatusOK || !strings.Contains(rec.Body.String(), "go_goroutines ") {
			t.Errorf("got %d %s", rec.Code, rec.Body)
		}
		if n > 0 && !strings.Contains(rec.Body.String(), `gilliam_panics_total{where="metrics"} `) {
			t.Error("the first panic is not counted")
		}
	}
	if !strings.Contains(log.String(), "bug: panic: ouch") || !strings.Contains(log.String(), "fakeProcs.Usage") {
		t.Errorf("not in the log: %s", log.String())
	}
}

// BenchmarkScrape is one scrape with a hundred procs running.
func BenchmarkScrape(b *testing.B) {
	procs := fakeProcs{usage: map[string]isolate.Usage{}}
	for i := range 100 {
		id := fmt.Sprint(i)
		procs.procs = append(procs.procs, proc.Proc{ID: id, App: "a", Name: id, State: proc.Running})
		procs.usage[id] = isolate.Usage{Memory: 1}
	}
	m := New(Build{})
	m.Watch(procs, fakeImages{})
	h := m.Handler(slog.New(slog.DiscardHandler))
	req := httptest.NewRequest("GET", "/metrics", nil)
	b.ReportAllocs()
	for b.Loop() {
		h.ServeHTTP(httptest.NewRecorder(), req)
	}
}
