package outbox

import (
	"encoding/json"
	"net/http"
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

func toJSON(t *testing.T, v any) string {
	t.Helper()
	text, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
