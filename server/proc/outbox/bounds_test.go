package outbox

import (
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

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
