package outbox

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

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
