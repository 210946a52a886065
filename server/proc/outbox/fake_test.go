package outbox

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// A fakeClock stands until it is advanced.
type fakeClock struct {
	mu     sync.Mutex
	now    time.Time
	timers []*fakeTimer
}

type fakeTimer struct {
	at time.Time
	f  func()
}

func newClock() *fakeClock { return &fakeClock{now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)} }

func (c *fakeClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *fakeClock) AfterFunc(d time.Duration, f func()) func() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := &fakeTimer{c.now.Add(d), f}
	c.timers = append(c.timers, t)
	return func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		at := slices.Index(c.timers, t)
		if at >= 0 {
			c.timers = slices.Delete(c.timers, at, at+1)
		}
		return at >= 0
	}
}

// advance moves the time and calls what is due by then.
func (c *fakeClock) advance(d time.Duration) {
	c.mu.Lock()
	c.now = c.now.Add(d)
	var due []func()
	c.timers = slices.DeleteFunc(c.timers, func(t *fakeTimer) bool {
		if t.at.After(c.now) {
			return false
		}
		due = append(due, t.f)
		return true
	})
	c.mu.Unlock()
	for _, f := range due {
		f()
	}
}

// wait is how long it is to the next timer.
func (c *fakeClock) wait(t *testing.T) time.Duration {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.timers) != 1 {
		t.Fatalf("got %d timers, want 1", len(c.timers))
	}
	return c.timers[0].at.Sub(c.now)
}

// A hearer is a real HTTP server on loopback.
type hearer struct {
	url string

	mu     sync.Mutex
	got    []*http.Request
	bodies []string
	answer func(w http.ResponseWriter, r *http.Request) // nil: 200
}

func newReceiver(t *testing.T) *hearer {
	r := &hearer{}
	s := httptest.NewServer(r)
	t.Cleanup(s.Close)
	r.url = s.URL
	return r
}

func (r *hearer) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	b, _ := io.ReadAll(req.Body)
	r.mu.Lock()
	r.got = append(r.got, req)
	r.bodies = append(r.bodies, string(b))
	answer := r.answer
	r.mu.Unlock()
	if answer != nil {
		answer(w, req)
	}
}

func (r *hearer) answers(f func(w http.ResponseWriter, r *http.Request)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answer = f
}

// status answers everything so.
func status(code int) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

// take gives what was received since the last time, as "seq state".
func (r *hearer) take() (got []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, req := range r.got {
		got = append(got, req.Header.Get("Gilliam-Sequence")+" "+req.URL.Query().Get("state"))
	}
	r.got, r.bodies = nil, nil
	return got
}

// wants fails the test unless just that was received.
func (r *hearer) wants(t *testing.T, want ...string) {
	t.Helper()
	if got := r.take(); !slices.Equal(got, want) {
		t.Errorf("received %q, want %q", got, want)
	}
}

// A world is an outbox that may be opened again and again on one folder.
type world struct {
	t     *testing.T
	cfg   Config
	clock *fakeClock
	log   *strings.Builder
	*Outbox
}

func newWorld(t *testing.T, change ...func(*Config)) *world {
	w := &world{t: t, clock: newClock(), log: &strings.Builder{}}
	dir := t.TempDir()
	w.cfg = Config{
		Dir: filepath.Join(dir, "outbox"), SetAside: filepath.Join(dir, "set-aside"),
		Client: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, CheckRedirect: noRedirect},
		Log:    slog.New(slog.NewTextHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		clock:  w.clock, random: func() float64 { return 1 },
	}
	for _, f := range change {
		f(&w.cfg)
	}
	w.open()
	t.Cleanup(func() { w.close() })
	return w
}

func noRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

func (w *world) open() {
	w.t.Helper()
	o, err := Open(w.cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	w.Outbox = o
}

func everyProc(string) bool { return true }

// start starts the outbox, for which every proc is there.
func (w *world) start() { w.Start(everyProc); w.idle() }

// idle waits until all that is due was sent. Nothing else may be going on.
func (w *world) idle() { w.flights.Wait() }

// advance lets time pass, and waits until all that is due then was sent.
func (w *world) advance(d time.Duration) { w.clock.advance(d); w.idle() }

// close ends the outbox without waiting for what is under way.
func (w *world) close() {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	w.Close(ctx)
}

// restart opens the folder anew, as the next hypervisor would.
func (w *world) restart() {
	w.t.Helper()
	w.close()
	w.open()
}

// append appends the proc's next states, told to url.
func (w *world) append(proc, url string, first uint64, states ...string) {
	w.t.Helper()
	for n, s := range states {
		if err := w.Append(Target{URL: url}, event(proc, first+uint64(n), s)); err != nil {
			w.t.Fatal(err)
		}
	}
}

func event(proc string, seq uint64, state string) Event {
	return Event{Proc: proc, App: "blog", Name: "web.1", Port: 10001, Seq: seq, State: state,
		At: time.Date(2026, 1, 1, 0, 0, int(seq), 0, time.UTC)}
}

// files are the names in the outbox's folder.
func (w *world) files() (names []string) {
	w.t.Helper()
	entries, err := os.ReadDir(w.cfg.Dir)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// listed are the callbacks there are, as "id status".
func (w *world) listed() (list []string) {
	for _, c := range w.List() {
		list = append(list, c.ID+" "+string(c.State))
	}
	return list
}

func (w *world) lists(want ...string) {
	w.t.Helper()
	if got := w.listed(); !slices.Equal(got, want) {
		w.t.Errorf("listed %q, want %q", got, want)
	}
}

func procName(n int) string { return fmt.Sprintf("00000000-0000-4000-8000-%012d", n) }
