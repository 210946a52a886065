package outbox

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// An entry is an event that was not delivered yet.
type entry struct {
	event    Event
	since    time.Time // when it came in, or was last asked for again
	attempts int       // since then
	tried    time.Time // the last of them
	next     time.Time // the next of them
	err      string    // why the last one failed
	dead     bool
}

// A box holds what one proc's receiver has not been told.
type box struct {
	w sync.Mutex // held by whoever changes the box, before Outbox.mu

	// Guarded by Outbox.mu.
	proc    string
	target  Target
	host    string   // of the target; what is sent to one at a time is bounded
	last    uint64   // the number of the last event that came in
	entries []*entry // by their numbers
	gone    bool     // the receiver wants nothing more
	orphan  bool     // its proc is gone

	stale bool // the file is not what the box is: it must be written anew
	size  int  // of the file, in bytes
	base  int  // its size when it was last written anew

	flight // in schedule.go
}

// newBox is a box that is nowhere yet: neither on disk nor in the schedule.
func newBox() *box { return &box{stale: true, flight: flight{index: -1}} }

var errNoBox = errors.New("it does not begin with a box")

// apply makes a change. It is how a box is read from disk and how it changes
// later, so that both are the same. What is about an event that is not there is
// of the past and changes nothing.
func (b *box) apply(l line) error {
	if (b.proc == "") != (l.Kind == kindBox) {
		return errNoBox
	}
	switch l.Kind {
	case kindBox:
		b.proc, b.target = l.Proc, *l.Target
		_, b.host = receiver(b.target.URL)
		return nil
	case kindEvent:
		return b.add(*l.Event, l.At)
	case kindLast:
		b.last = max(b.last, l.Seq)
		return nil
	case kindGone:
		b.gone = true
		for _, e := range b.entries {
			if e.event.Seq == l.Seq { // the one that was answered so
				e.attempts, e.tried = e.attempts+1, l.At
			}
			if !e.dead {
				e.dead, e.err = true, l.Error
			}
		}
		return nil
	}
	at, found := b.find(l.Seq)
	if !found {
		return nil
	}
	e := b.entries[at]
	switch l.Kind {
	case kindTry:
		e.attempts, e.tried, e.next, e.err = l.Attempts, l.At, l.Next, l.Error
	case kindDead:
		e.dead, e.tried, e.err, e.attempts = true, l.At, l.Error, l.Attempts
	case kindAgain:
		e.dead, e.attempts, e.since, e.next = false, 0, l.At, l.At
		b.gone = false
	case kindTold, kindDrop:
		b.entries = slices.Delete(b.entries, at, at+1)
	}
	return nil
}

func (b *box) add(event Event, at time.Time) error {
	if event.Proc != b.proc {
		return fmt.Errorf("an event of %q", event.Proc)
	}
	if event.Seq <= b.last {
		return nil
	}
	e := &entry{event: event, since: at, next: at}
	if b.gone {
		e.dead, e.err = true, goneText
	}
	b.entries = append(b.entries, e)
	b.last = event.Seq
	return nil
}

// find tells where the event of a number is.
func (b *box) find(seq uint64) (at int, found bool) {
	return slices.BinarySearchFunc(b.entries, seq, func(e *entry, seq uint64) int { return cmp.Compare(e.event.Seq, seq) })
}

// head is the event that must be told before the others; nil when there is none.
func (b *box) head() *entry {
	for _, e := range b.entries {
		if !e.dead {
			return e
		}
	}
	return nil
}

// count tells how many events wait, and how many are dead letters.
func (b *box) count() (pending, dead int) {
	for _, e := range b.entries {
		if e.dead {
			dead++
		}
	}
	return len(b.entries) - dead, dead
}

// victim is the event that makes room for another: the oldest dead letter, or
// else the oldest that waits and is not being sent; nil when there is none.
func (b *box) victim() *entry {
	for _, e := range b.entries {
		if e.dead {
			return e
		}
	}
	for _, e := range b.entries {
		if !b.flying || e != b.head() {
			return e
		}
	}
	return nil
}

// lines are the box as a new file has it.
func (b *box) lines() []line {
	lines := []line{{Kind: kindBox, Version: version, Proc: b.proc, Target: &b.target}}
	for _, e := range b.entries {
		lines = append(lines, line{Kind: kindEvent, Event: &e.event, At: e.since})
		switch {
		case e.dead:
			lines = append(lines, line{Kind: kindDead, Seq: e.event.Seq, At: e.tried, Attempts: e.attempts, Error: e.err})
		case e.attempts > 0:
			lines = append(lines, line{Kind: kindTry, Seq: e.event.Seq, At: e.tried, Next: e.next, Attempts: e.attempts, Error: e.err})
		}
	}
	if b.gone {
		lines = append(lines, line{Kind: kindGone, Error: goneText})
	}
	if b.last > 0 {
		lines = append(lines, line{Kind: kindLast, Seq: b.last})
	}
	return lines
}

// rebase moves the times of a box that was read from disk onto this process's
// clock, which does not jump, and within what is possible: the clock of the
// machine may have been set meanwhile.
func (b *box) rebase(now time.Time, most time.Duration) {
	for _, e := range b.entries {
		e.since = now.Add(-max(0, now.Sub(e.since)))
		e.next = now.Add(min(max(0, e.next.Sub(now)), most))
	}
}
