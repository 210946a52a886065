package outbox

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

var (
	a, b_ = procName(1), procName(2)
	life  = []string{"init", "boot", "running", "done"}
	told  = []string{"1 init", "2 boot", "3 running", "4 done"}
)

// Every event is told once, in order, as the original did, with headers that
// tell which it is and no body.
func TestDelivery(t *testing.T) {
	w, r := newWorld(t), newReceiver(t)
	w.append(a, r.url+"/hook?token=a%26b", 1, "init")
	w.idle()
	r.wants(t) // nothing before the start
	w.start()
	req, text := r.got[0], r.bodies[0]
	if got, want := req.Method+" "+req.URL.String(), "POST /hook?token=a%26b&name=web.1&port=10001&state=init"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if req.ContentLength != 0 || text != "" || req.Header.Get("Content-Type") != "" {
		t.Errorf("it has a body: %d bytes, %q, headers %v", req.ContentLength, text, req.Header)
	}
	for name, want := range map[string]string{
		"Webhook-Id": a + "-1", "Webhook-Timestamp": "1767323045", "Gilliam-Sequence": "1", "Webhook-Signature": "", "User-Agent": "gilliam-hypervisor",
	} {
		if got := req.Header.Get(name); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	r.wants(t, told[:1]...)

	w.append(a, r.url, 1, life...) // the first for the second time
	w.idle()
	r.wants(t, told[1:]...)
	if s := w.Stats(); s.Delivered != 4 || s.Pending+s.Dead != 0 || s.Failed+s.GivenUp+s.Dropped+s.WriteErrors != 0 || s.Oldest != 0 {
		t.Errorf("got %+v", s)
	}
	w.lists()
	w.restart()
	w.append(a, r.url, 4, "done") // as a start does
	w.start()
	r.wants(t)
}

// An event without a receiver or a number is no one's.
func TestNothingToTell(t *testing.T) {
	w := newWorld(t)
	w.start()
	w.append(a, "", 1, "init")
	w.append(a, "http://127.0.0.1:1/", 0, "init")
	w.lists()
	if got := w.files(); len(got) != 0 {
		t.Errorf("files: %q", got)
	}
}

// A receiver that fails holds its proc's later events back, each wait is longer
// than the one before, and nothing is sent before its time.
func TestBackoff(t *testing.T) {
	w, r := newWorld(t), newReceiver(t)
	w.start()
	r.answers(status(http.StatusInternalServerError))
	w.append(a, r.url, 1, life...)
	w.idle()
	for n, want := range []time.Duration{2, 4, 8, 16, 32, 64, 128, 256, 300, 300} {
		r.wants(t, "1 init")
		if got := w.clock.wait(t); got != want*time.Second {
			t.Fatalf("after %d attempts: got %v, want %v", n+1, got, want*time.Second)
		}
		w.advance(want*time.Second - 1)
		r.wants(t)
		if got := w.List(); len(got) != 4 || got[0].Attempts != n+1 || got[0].LastError != "the receiver answered 500 Internal Server Error" || got[1].NextTry != nil {
			t.Fatalf("got %+v", got)
		}
		w.advance(1)
	}
	r.answers(nil)
	r.take()
	w.advance(5 * time.Minute)
	r.wants(t, told...)
	if s := w.Stats(); s.Delivered != 4 || s.Failed != 11 {
		t.Errorf("got %+v", s)
	}
	if n := strings.Count(w.log.String(), "level=WARN"); n != 1 {
		t.Errorf("warned %d times, want once:\n%s", n, w.log)
	}
}

// A restart goes on where it was: the same attempts, and no sooner.
func TestRestart(t *testing.T) {
	w, r := newWorld(t), newReceiver(t)
	w.start()
	r.answers(status(http.StatusServiceUnavailable))
	w.append(a, r.url, 1, life...)
	w.idle()
	w.advance(2 * time.Second)
	r.wants(t, "1 init", "1 init")
	before := w.List()
	w.restart()
	w.start()
	if got := w.List(); toJSON(t, got) != toJSON(t, before) {
		t.Errorf("got\n%s\nwant\n%s", toJSON(t, got), toJSON(t, before))
	}
	w.advance(4*time.Second - 1)
	r.wants(t)
	r.answers(nil)
	w.advance(1)
	r.wants(t, told...)
}

// A clock that was set meanwhile neither holds an event back nor gives it up
// untried.
func TestClockJumps(t *testing.T) {
	for name, jump := range map[string]time.Duration{"a year on": 365 * 24 * time.Hour, "a year back": -365 * 24 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			w, r := newWorld(t), newReceiver(t)
			w.start()
			r.answers(status(http.StatusServiceUnavailable))
			w.append(a, r.url, 1, life...)
			w.idle()
			w.close()
			w.clock.advance(jump)
			r.answers(nil)
			r.take()
			w.open()
			w.start()
			w.advance(time.Hour)
			r.wants(t, told...)

			r.answers(status(http.StatusServiceUnavailable))
			w.append(a, r.url, 5, "boot")
			w.idle()
			w.close()
			w.clock.advance(jump)
			w.open()
			w.start()
			for range 3 {
				w.advance(24 * time.Hour)
			}
			w.lists(a + "-5 dead") // after a day of this clock, at the latest
		})
	}
}

// What is not taken for a day becomes a dead letter and lets the next one pass.
// It stays until somebody wants it sent again, or removed.
func TestDeadLetters(t *testing.T) {
	w, r := newWorld(t), newReceiver(t)
	w.start()
	r.answers(status(http.StatusNotFound)) // is tried as long as anything else
	w.append(a, r.url, 1, "init")
	w.idle()
	w.advance(23 * time.Hour)
	w.append(a, r.url, 2, "boot")
	w.lists(a+"-1 pending", a+"-2 pending")
	for range 100 { // the last attempt is at the end of the day, whenever the one before was
		w.advance(min(5*time.Minute, w.clock.wait(t)))
		if len(w.listed()) == 2 && strings.HasSuffix(w.listed()[0], "dead") {
			break
		}
	}
	w.lists(a+"-1 dead", a+"-2 pending")
	if got := w.clock.Now().Sub(newClock().now); got != 24*time.Hour {
		t.Errorf("given up after %v", got)
	}
	if err := w.Remove(a + "-2"); err != ErrPending {
		t.Errorf("got %v", err)
	}
	w.restart()
	w.start()
	w.lists(a+"-1 dead", a+"-2 pending")
	r.answers(nil)
	r.take()
	w.advance(5 * time.Minute)
	r.wants(t, "2 boot")

	c, err := w.Retry(a + "-1")
	if err != nil || c.State != Pending || c.Attempts != 0 {
		t.Errorf("got %+v %v", c, err)
	}
	w.idle()
	r.wants(t, "1 init")
	w.lists()
	if s := w.Stats(); s.Delivered != 2 || s.GivenUp != 0 {
		t.Errorf("got %+v", s) // it was given up before the restart
	}
	for _, id := range []string{a + "-1", a + "-9", b_ + "-1", "", "x", a, a + "-", a + "-01", a + "-+1", "-1"} {
		if _, err := w.Retry(id); err != ErrNotExist {
			t.Errorf("retry %q: %v", id, err)
		}
		if err := w.Remove(id); err != ErrNotExist {
			t.Errorf("remove %q: %v", id, err)
		}
	}
}

func TestRemove(t *testing.T) {
	w, r := newWorld(t, func(c *Config) { c.GiveUpAfter = time.Nanosecond }), newReceiver(t)
	w.start()
	r.answers(status(http.StatusForbidden))
	w.append(a, r.url, 1, "init", "boot")
	w.idle()
	w.advance(time.Nanosecond)
	w.lists(a+"-1 dead", a+"-2 dead")
	if err := w.Remove(a + "-1"); err != nil {
		t.Error(err)
	}
	w.restart()
	w.start()
	w.lists(a + "-2 dead")
	w.Forget(a) // its dead letters stay
	w.lists(a + "-2 dead")
	if err := w.Remove(a + "-2"); err != nil {
		t.Error(err)
	}
	if got := w.files(); len(got) != 0 {
		t.Errorf("left: %q", got)
	}
}

// One that waits can be sent at once.
func TestRetryPending(t *testing.T) {
	w, r := newWorld(t), newReceiver(t)
	w.start()
	r.answers(status(http.StatusBadGateway))
	w.append(a, r.url, 1, "init", "boot")
	w.idle()
	r.answers(nil)
	r.take()
	if _, err := w.Retry(a + "-1"); err != nil {
		t.Error(err)
	}
	w.idle()
	r.wants(t, "1 init", "2 boot")
}

// 410 is the end of it, until somebody says otherwise.
func TestGone(t *testing.T) {
	w, r := newWorld(t), newReceiver(t)
	w.start()
	r.answers(status(http.StatusGone))
	w.append(a, r.url, 1, "init", "boot")
	w.append(b_, r.url, 1, "init")
	w.idle()
	got := r.take()
	slices.Sort(got)
	if !slices.Equal(got, []string{"1 init", "1 init"}) {
		t.Errorf("received %q, want one of each proc", got)
	}
	w.restart()
	w.start()
	w.append(a, r.url, 3, "running")
	w.advance(24 * time.Hour)
	r.wants(t)
	w.lists(a+"-1 dead", a+"-2 dead", a+"-3 dead", b_+"-1 dead")
	if s := w.Stats(); s.GivenUp != 1 || s.Dead != 4 {
		t.Errorf("got %+v", s)
	}
	for _, c := range w.List() {
		if c.LastError != goneText {
			t.Errorf("got %+v", c)
		}
	}
	r.answers(nil)
	if _, err := w.Retry(a + "-2"); err != nil {
		t.Error(err)
	}
	w.append(a, r.url, 4, "done")
	w.idle()
	r.wants(t, "2 boot", "4 done")
}

func TestRetryAfter(t *testing.T) {
	for header, want := range map[string]time.Duration{
		"":                              2 * time.Second,
		"1":                             2 * time.Second, // no sooner than we would
		"77":                            77 * time.Second,
		"1000000":                       time.Hour,
		"-5":                            2 * time.Second,
		"soon":                          2 * time.Second,
		"Fri, 02 Jan 2026 03:05:05 GMT": time.Minute,
		"Fri, 02 Jan 2024 03:05:05 GMT": 2 * time.Second,
	} {
		w, r := newWorld(t), newReceiver(t)
		w.start()
		r.answers(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", header)
			w.WriteHeader(http.StatusTooManyRequests)
		})
		w.append(a, r.url, 1, "init")
		w.idle()
		if got := w.clock.wait(t); got != want {
			t.Errorf("%q: got %v, want %v", header, got, want)
		}
	}
}

// A proc that is gone is told of to the end, and its file goes with the last.
func TestForget(t *testing.T) {
	w, r := newWorld(t), newReceiver(t)
	w.start()
	w.append(a, r.url, 1, life...)
	w.idle()
	r.answers(status(http.StatusInternalServerError))
	w.append(b_, r.url, 1, life...)
	w.idle()
	r.take()
	w.Forget(a)
	w.Forget(b_)
	w.Forget("nobody")
	if got := w.files(); !slices.Equal(got, []string{b_ + ".log"}) {
		t.Errorf("files: %q", got)
	}
	w.restart()
	r.answers(nil)
	w.Start(func(string) bool { return false })
	w.advance(time.Minute)
	r.wants(t, told...)
	if got := w.files(); len(got) != 0 {
		t.Errorf("files: %q", got)
	}
}

// A proc that went between its last delivery and being forgotten leaves nothing.
func TestOrphan(t *testing.T) {
	w, r := newWorld(t), newReceiver(t)
	w.start()
	w.append(a, r.url, 1, life...)
	w.append(b_, r.url, 1, life...)
	w.idle()
	w.restart()
	w.Start(func(proc string) bool { return proc == b_ })
	if got := w.files(); !slices.Equal(got, []string{b_ + ".log"}) {
		t.Errorf("files: %q", got)
	}
}

// A file does not grow with what is of the past.
func TestRewrite(t *testing.T) {
	w, r := newWorld(t, func(c *Config) { c.limits.rewrite = 2000 }), newReceiver(t)
	w.start()
	r.answers(status(http.StatusInternalServerError))
	w.append(a, r.url, 1, life...)
	w.idle()
	grown := func(why string) {
		t.Helper()
		if st, err := os.Stat(filepath.Join(w.cfg.Dir, a+".log")); err != nil || st.Size() > 8000 {
			t.Errorf("%s: got %d bytes, %v", why, st.Size(), err)
		}
	}
	for range 100 {
		w.advance(5 * time.Minute)
	}
	grown("100 attempts")
	for range 100 {
		w.restart()
		w.start()
		w.advance(5 * time.Minute)
	}
	grown("100 restarts")
	if got := w.List(); got[0].Attempts != 201 {
		t.Errorf("got %+v", got[0])
	}
	before := w.List()
	w.restart()
	if toJSON(t, w.List()) != toJSON(t, before) {
		t.Errorf("got %s, want %s", toJSON(t, w.List()), toJSON(t, before))
	}
	r.answers(nil)
	r.take()
	w.start()
	w.advance(5 * time.Minute)
	r.wants(t, told...)
	for seq := uint64(5); seq <= 60; seq++ { // each told at once, so that files are written anew with nothing in them
		w.append(a, r.url, seq, "boot")
		w.idle()
		w.restart()
		w.append(a, r.url, seq, "boot") // as a start does
		w.start()
		if got := r.take(); len(got) != 1 {
			t.Fatalf("told %q, want one event", got)
		}
	}
}

func toJSON(t *testing.T, v any) string {
	t.Helper()
	text, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Too many events make room: dead letters go first, then the oldest.
func TestBounds(t *testing.T) {
	w, r := newWorld(t, func(c *Config) { c.limits.perProc, c.limits.all = 3, 5 }), newReceiver(t)
	w.start()
	r.answers(status(http.StatusGone))
	w.append(a, r.url, 1, "init")
	w.idle()
	if _, err := w.Retry(a + "-1"); err != nil { // so that it is not gone for good
		t.Fatal(err)
	}
	w.idle()
	r.answers(status(http.StatusInternalServerError))
	w.Retry(a + "-1")
	w.idle()
	w.append(a, r.url, 2, "s", "s", "s")
	w.lists(a+"-2 pending", a+"-3 pending", a+"-4 pending")
	w.append(b_, r.url, 1, "s", "s", "s")
	if s := w.Stats(); s.Pending != 5 || s.Dropped != 2 {
		t.Errorf("got %+v", s)
	}
	if got := w.listed(); !slices.Contains(got, b_+"-3 pending") || !slices.Contains(got, a+"-4 pending") {
		t.Errorf("the newest is lost: %q", got)
	}
	if n := strings.Count(w.log.String(), "level=ERROR"); n != 2 {
		t.Errorf("%d errors logged, want 2:\n%s", n, w.log)
	}
	before := w.listed()
	w.restart()
	w.lists(before...)
	w.append(procName(3), r.url, 1, "s")
	if got := w.listed(); len(got) != 5 || !slices.Contains(got, procName(3)+"-1 pending") {
		t.Errorf("got %q", got)
	}
}

// A proc that is gone leaves no file when the last of its events has made room.
func TestBoundsOfOrphans(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.limits.all = 1 })
	w.append(a, "http://127.0.0.1:1/", 1, "init")
	w.Forget(a)
	w.append(b_, "http://127.0.0.1:1/", 1, "init")
	w.lists(b_ + "-1 pending")
	if got := w.files(); !slices.Equal(got, []string{b_ + ".log"}) {
		t.Errorf("files: %q", got)
	}
}

// What an operator was told is done outlasts a power cut.
func TestRetryIsDurable(t *testing.T) {
	disk := &mortal{left: 1 << 20, power: true, synced: map[string]int64{}}
	w, r := newWorld(t, func(c *Config) { disk.folder = folder(c.Dir); c.disk = disk }), newReceiver(t)
	w.start()
	r.answers(status(http.StatusGone))
	w.append(a, r.url, 1, "init", "boot")
	w.idle()
	r.answers(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	if err := w.Remove(a + "-2"); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Retry(a + "-1"); err != nil {
		t.Fatal(err)
	}
	disk.left = 1 // the power fails with the next byte
	w.Append(Target{URL: r.url}, event(a, 3, "running"))
	w.close()
	w.cfg.disk = nil
	w.open()
	w.lists(a + "-1 pending")
}

// While the disk takes nothing, events are told from memory; when it does again,
// all that is left is on it.
func TestFullDisk(t *testing.T) {
	disk := &failing{}
	w, r := newWorld(t, func(c *Config) { disk.folder = folder(c.Dir); c.disk = disk }), newReceiver(t)
	w.start()
	w.append(a, r.url, 1, "init")
	w.idle()
	disk.full = true
	for seq, state := range []string{2: "boot", 3: "running"} {
		if seq > 1 {
			if err := w.Append(Target{URL: r.url}, event(a, uint64(seq), state)); err == nil || !strings.Contains(err.Error(), "no space left") {
				t.Errorf("got %v", err)
			}
		}
	}
	if err := w.Append(Target{URL: "http://127.0.0.1:1/"}, event(b_, 1, "init")); err == nil {
		t.Error("the first event of a proc was written to a full disk")
	}
	w.idle()
	r.wants(t, told[:3]...)
	if s := w.Stats(); s.WriteErrors != 6 || s.Pending != 1 {
		t.Errorf("got %+v", s)
	}
	disk.full = false
	r.answers(status(http.StatusInternalServerError))
	w.append(a, r.url, 4, "done")
	w.idle()
	w.advance(2 * time.Second) // b tries again, and that is written
	r.take()
	r.answers(nil)
	w.restart()
	w.lists(b_+"-1 pending", a+"-4 pending")
	w.start()
	w.advance(time.Minute)
	r.wants(t, "4 done")
	if got, err := os.ReadDir(w.cfg.SetAside); err == nil {
		t.Errorf("set aside: %v", got)
	}
}
