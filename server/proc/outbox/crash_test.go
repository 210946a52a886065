package outbox

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// A tape is a client that takes every second attempt, and is heard by nobody
// once its process is dead.
type tape struct {
	dead func() bool

	mu       sync.Mutex
	heard    []string // what was taken
	attempts int
}

func (c *tape) Do(r *http.Request) (*http.Response, error) {
	if c.dead() {
		return nil, errKilled
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.attempts++
	if c.attempts%2 == 1 {
		return nil, errors.New("connection refused")
	}
	c.heard = append(c.heard, r.Header.Get("Webhook-Id"))
	return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader(""))}, nil
}

// A lifeLog is what the records of two procs hold: the number of the last state
// of each. It is written before the outbox is, and always whole.
type lifeLog map[string]uint64

// live lets both procs go through their states, as far as the disk lives.
func (l lifeLog) live(t *testing.T, w *world, dead func() bool) {
	t.Helper()
	w.Start(everyProc)
	for seq := uint64(1); seq <= 4; seq++ {
		for _, proc := range []string{a, b_} {
			if dead() {
				return
			}
			if l[proc] >= seq {
				continue
			}
			l[proc] = seq
			if err := w.Append(Target{URL: "http://receiver.example/"}, event(proc, seq, life[seq-1])); err != nil && !errors.Is(err, errKilled) {
				t.Fatal(err)
			}
			w.idle()
			w.advance(time.Second)
		}
	}
	for range 20 {
		w.advance(10 * time.Second)
	}
	for _, proc := range []string{a, b_} {
		w.Forget(proc)
	}
}

// Killed after any byte that it writes, and restarted, the outbox has told every
// state of every proc, in order, and each delivery that is repeated says so by
// its id. So it is when the power fails and takes with it what was not synced.
func TestKilledAtEveryByte(t *testing.T) {
	for _, power := range []bool{false, true} {
		t.Run(fmt.Sprintf("power=%v", power), func(t *testing.T) {
			t.Parallel()
			for left, killed := 1, true; killed; left += 31 { // over the lines' lengths, so that it falls everywhere in them
				killed = killedAfter(t, left, power)
				if t.Failed() {
					t.Fatalf("when killed after %d bytes", left)
				}
			}
		})
	}
}

// killedAfter tells whether the scenario was long enough to be killed.
func killedAfter(t *testing.T, left int, power bool) bool {
	t.Helper()
	disk := &mortal{left: left, power: power, synced: map[string]int64{}}
	heard := &tape{dead: disk.isDead}
	w := newWorld(t, func(c *Config) {
		disk.folder = folder(c.Dir)
		c.disk, c.Client = disk, heard
		c.limits.rewrite = 600 // so that files are written anew in between
	})
	log := lifeLog{}
	log.live(t, w, disk.isDead)
	killed := disk.isDead()

	// The next start: every record's last event is appended, then life goes on.
	w.close()
	w.cfg.disk = nil
	heard.dead = func() bool { return false }
	w.open()
	for proc, seq := range log {
		if err := w.Append(Target{URL: "http://receiver.example/"}, event(proc, seq, life[seq-1])); err != nil {
			t.Error(err)
		}
	}
	log.live(t, w, heard.dead)
	w.advance(time.Minute)

	w.lists()
	if got := w.files(); len(got) != 0 {
		t.Errorf("files: %q", got)
	}
	if _, err := os.Stat(w.cfg.SetAside); err == nil {
		t.Error("a file was set aside: a crash is no damage")
	}
	for _, proc := range []string{a, b_} {
		var got, want []string
		for _, id := range heard.heard {
			if strings.HasPrefix(id, proc) && !slices.Contains(got, id) {
				got = append(got, id)
			}
		}
		for seq := range uint64(4) {
			want = append(want, id(proc, seq+1))
		}
		if !slices.Equal(got, want) {
			t.Errorf("told %q, want %q; all: %q", got, want, heard.heard)
		}
	}
	if repeated := len(heard.heard) - 8; repeated > 2 && !power {
		t.Errorf("%d deliveries were repeated, want at most those under way, one of each proc: %q", repeated, heard.heard)
	}
	return killed
}
