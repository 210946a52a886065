//go:build vm

package vm

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/gilliam/hypervisor/integration/vm/job"
)

// A hypervisor makes, stops and removes procs when the machine loses its power, and
// again, and again. Each time the next one, on the same disk, has every proc that it
// was told of, ended as it had ended and with the log that it had; nothing is there
// that nobody asked for, and nothing is left of what was removed. In a volume with a
// size is all that an app has flushed there, and not all that it has not.
func TestReboot(t *testing.T) {
	const cuts = 3
	r := newRig(t, nil, "cmd/hypervisor", "integration/vm/storm", "integration/vm/powercut")
	r.keepState(t, 1<<30)
	l := &ledger{t: t, procs: map[string]*entry{}, names: map[string]bool{}}
	for range cuts {
		enough := l.expect(15+rand.IntN(25), 5+rand.IntN(15))
		console := job.Transcript{Heard: l.heard}
		running := r.boot(t, &console, stormTask("storm"))
		select {
		case <-enough:
		case <-running.Done():
			t.Fatalf("the guest came to its end: %s\n%s", console.Fatal, console.Tail(60))
		}
		must(t, running.Kill()) // in the middle of the next ones
		l.crash()
	}
	console := job.Transcript{Heard: l.heard}
	must(t, r.boot(t, &console, stormTask("check")).Wait())
	if c := console.Results["check"]; c == nil || c.Code != 0 || !console.Done {
		t.Errorf("got %+v %s\n%s", c, console.Fatal, console.Tail(60))
	}
	if l.checks != cuts+1 {
		t.Errorf("what was there was told %d times, want %d", l.checks, cuts+1)
	}
	t.Logf("%d procs through %d power cuts: %d ended and %d removed before one, %d cut off by one, %d found afterwards", l.count.made, cuts, l.count.ended, l.count.removed, l.count.cut, l.count.found)
	t.Logf("%d files in the volume, %d of them flushed before a power cut; %d that were not flushed are lost", l.volume.there, l.volume.flushed, l.volume.lost)
	if l.count.ended == 0 || l.count.removed == 0 || l.count.cut == 0 || l.volume.flushed == 0 {
		t.Error("that tests too little")
	}
	if l.volume.looks != cuts+1 || l.volume.lost == 0 {
		t.Errorf("control: the volume was looked into %d times, and of what was not flushed %d files are lost", l.volume.looks, l.volume.lost)
	}
}

func stormTask(verb string) job.Task {
	return job.Task{Name: verb, Dir: job.StateDir, Args: []string{job.BinDir + "/storm", verb, job.StateDir}, Timeout: deadline}
}

// A ledger is what the host has heard of procs. It outlives the machine.
type ledger struct {
	t      *testing.T
	mu     sync.Mutex
	procs  map[string]*entry // by id
	names  map[string]bool   // that were asked for
	checks int
	count  struct{ made, ended, removed, cut, found int }
	volume struct{ flushed, there, lost, looks int }

	left   struct{ answers, files int } // until there are enough
	enough chan struct{}
}

// An entry is a proc.
type entry struct {
	job.Seen
	stopping, removing bool
	gone, there        bool
	ended              bool
	cut                bool // the power went while it lived
}

// expect returns a channel that is closed when so many answers were heard, and of so
// many files in the volume.
func (l *ledger) expect(answers, files int) <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.left.answers, l.left.files, l.enough = answers, files, make(chan struct{})
	return l.enough
}

// counted closes the channel of whoever expects no more. Callers hold l.mu.
func (l *ledger) counted() {
	if l.enough != nil && l.left.answers <= 0 && l.left.files <= 0 {
		close(l.enough)
		l.enough = nil
	}
}

// crash is a power cut.
func (l *ledger) crash() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.procs {
		if !e.ended && !e.gone {
			e.cut = true
			l.count.cut++
		}
		e.there = false
	}
}

// heard takes down what a client in the machine says.
func (l *ledger) heard(name, value string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n, err := strconv.Atoi(value); err == nil {
		l.inVolume(name, n)
		return
	}
	var s job.Seen
	if !strings.HasPrefix(value, "{") || json.Unmarshal([]byte(value), &s) != nil {
		return
	}
	e := l.procs[s.ID]
	if e == nil && s.ID != "" {
		e = &entry{Seen: s}
		if name != job.Made && !(name == job.Found && l.names[s.Name]) { // found: the power went before the answer
			l.t.Errorf("%s of a proc that nobody asked for: %+v", name, s)
		}
		l.procs[s.ID] = e
	}
	switch name {
	case job.Asking:
		l.names[s.Name] = true
		return
	case job.Made:
		l.count.made++
	case job.Stopping:
		e.stopping = true
		return
	case job.Removing:
		e.removing = true
		return
	case job.Ended:
		e.Seen, e.ended = s, true
		l.count.ended++
	case job.Removed:
		e.gone = true
		l.count.removed++
	case job.Found:
		l.found(e, s)
		return
	case job.Checked:
		l.checked(s)
		return
	}
	l.left.answers--
	l.counted()
}

// inVolume takes down what the app with a volume says: how many files it has flushed or,
// after a power cut, finds there.
func (l *ledger) inVolume(name string, n int) {
	switch name {
	case "durable":
		l.volume.flushed = n
		l.left.files--
		l.counted()
	case "flushed-whole":
		l.volume.there, l.volume.looks = n, l.volume.looks+1
		if n < l.volume.flushed {
			l.t.Errorf("of %d files that were flushed in a volume %d are there", l.volume.flushed, n)
		}
	case "flushed-torn":
		if n > 0 {
			l.t.Errorf("%d files in a volume have their names and not their content", n)
		}
	case "careless-torn":
		l.volume.lost = n
	}
}

// found compares a proc that is there after a start with what is known of it.
func (l *ledger) found(e *entry, s job.Seen) {
	l.count.found++
	e.there = true
	switch {
	case e.gone:
		l.t.Errorf("it was removed, and is there: %+v", s)
	case e.ended:
		if s.State != e.State || s.Code != e.Code || s.Reason != e.Reason || !s.Ended.Equal(e.Ended) || s.Log != e.Log || s.Port != e.Port {
			l.t.Errorf("it had ended as\n%+v, and now has as\n%+v", e.Seen, s)
		}
	case !e.may(s):
		l.t.Errorf("it was %+v, and has become\n%+v", *e, s)
	}
	if s.State == "done" || s.State == "fail" {
		e.Seen, e.ended = s, true
	}
}

// may tells whether what was alive when the power went may be so now.
func (e *entry) may(s job.Seen) bool {
	kind, rest, _ := strings.Cut(s.Name, "-")
	number, _, _ := strings.Cut(rest, "-")
	switch s.State {
	case "running": // launched by this hypervisor: the last one had not come to it
		return kind != "exits"
	case "done", "fail":
		lost := strings.Contains(s.Reason, "the machine was restarted while it ran")
		own := fmt.Sprint(s.Code) == number && s.Log == "start\nend\n"
		return lost || kind == "exits" && own || e.stopping || e.removing
	}
	return false
}

// checked is told when all that is there was told.
func (l *ledger) checked(s job.Seen) {
	l.checks++
	for _, text := range s.Amiss {
		l.t.Errorf("amiss after a power cut: %s", text)
	}
	for _, e := range l.procs {
		if !e.there && !e.gone && !e.removing {
			l.t.Errorf("it is lost: %+v", *e)
		}
		if !e.there {
			e.gone = true
		}
	}
}
