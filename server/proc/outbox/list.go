package outbox

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// A Status is what is to become of a callback.
type Status string

// The statuses of callbacks.
const (
	Pending Status = "pending" // it is tried until it is taken or given up
	Dead    Status = "dead"    // it was given up; somebody must say what is to become of it
)

// Valid tells whether s is one of the statuses.
func (s Status) Valid() bool { return s == Pending || s == Dead }

// A Callback is an event that was not delivered, as it may be shown: without
// the secrets that the receiver's URL may hold.
type Callback struct {
	ID        string     `json:"id"` // as the receiver is told in Webhook-Id
	Proc      string     `json:"proc"`
	App       string     `json:"app"`
	Name      string     `json:"name"`
	Seq       uint64     `json:"seq"`
	ProcState string     `json:"proc_state"` // the state that is told
	Receiver  string     `json:"receiver"`   // scheme, host and port
	State     Status     `json:"state"`
	Attempts  int        `json:"attempts"`
	LastError string     `json:"last_error,omitempty"`
	Created   time.Time  `json:"created"`
	LastTry   *time.Time `json:"last_try,omitempty"`
	NextTry   *time.Time `json:"next_try,omitempty"` // none: a dead letter, or one that waits for those before it
}

// callback shows an entry. Callers hold Outbox.mu.
func (b *box) callback(e *entry, isHead bool) Callback {
	c := Callback{
		ID: id(b.proc, e.event.Seq), Proc: b.proc, App: e.event.App, Name: e.event.Name, Seq: e.event.Seq,
		ProcState: e.event.State, State: Pending, Attempts: e.attempts, LastError: e.err, Created: e.event.At,
	}
	c.Receiver, _ = receiver(b.target.URL)
	if !e.tried.IsZero() {
		tried := e.tried.UTC()
		c.LastTry = &tried
	}
	if e.dead {
		c.State = Dead
	} else if isHead {
		next := e.next.UTC()
		c.NextTry = &next
	}
	return c
}

// List shows every callback that was not delivered: those of one proc in their
// order, the procs by the oldest of theirs.
func (o *Outbox) List() []Callback {
	var boxes [][]Callback
	o.mu.Lock()
	for _, b := range o.boxes {
		var all []Callback
		head := b.head()
		for _, e := range b.entries {
			all = append(all, b.callback(e, e == head))
		}
		if len(all) > 0 {
			boxes = append(boxes, all)
		}
	}
	o.mu.Unlock()
	slices.SortFunc(boxes, func(a, b []Callback) int {
		return cmp.Or(a[0].Created.Compare(b[0].Created), strings.Compare(a[0].Proc, b[0].Proc))
	})
	return slices.Concat(boxes...)
}

// Retry has a callback sent now: one that waits, or a dead letter, which then
// has all its time again. It is an [ErrNotExist] when there is none of that id.
// One that was overtaken by later events arrives after them; its number shows
// that.
func (o *Outbox) Retry(id string) (Callback, error) {
	b, _, err := o.hold(id)
	if err != nil {
		return Callback{}, err
	}
	defer b.w.Unlock()
	_, seq, _ := splitID(id)
	if err := o.write(b, true, line{Kind: kindAgain, Seq: seq, At: o.cfg.clock.Now()}); err != nil {
		return Callback{}, err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	at, _ := b.find(seq)
	return b.callback(b.entries[at], b.entries[at] == b.head()), nil
}

// Remove removes a dead letter. It is an [ErrNotExist] when there is none of
// that id, and [ErrPending] when it may still be delivered.
func (o *Outbox) Remove(id string) error {
	b, dead, err := o.hold(id)
	if err != nil {
		return err
	}
	defer b.w.Unlock()
	if !dead {
		return ErrPending
	}
	_, seq, _ := splitID(id)
	if err := o.write(b, true, line{Kind: kindDrop, Seq: seq}); err != nil {
		return err
	}
	o.sweep(b)
	return nil
}

// hold finds the box of a callback, and locks its w when there is no error.
func (o *Outbox) hold(id string) (b *box, dead bool, err error) {
	proc, seq, err := splitID(id)
	if err != nil {
		return nil, false, err
	}
	o.mu.Lock()
	b = o.boxes[proc]
	o.mu.Unlock()
	if b == nil {
		return nil, false, ErrNotExist
	}
	b.w.Lock()
	o.mu.Lock()
	defer o.mu.Unlock()
	at, found := b.find(seq)
	if !found {
		b.w.Unlock()
		return nil, false, ErrNotExist
	}
	return b, b.entries[at].dead, nil
}

// Of tells how many callbacks of a proc wait, and how many are dead letters.
func (o *Outbox) Of(proc string) (pending, dead int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if b := o.boxes[proc]; b != nil {
		return b.count()
	}
	return 0, 0
}

// Counts are totals since the outbox was opened.
type Counts struct {
	Delivered   uint64 // events that were taken
	Failed      uint64 // attempts that failed
	GivenUp     uint64 // events that became dead letters
	Dropped     uint64 // events that made room for others
	WriteErrors uint64 // changes that the disk did not take
}

// add counts what became of an attempt, in a box where so many events waited.
func (c *Counts) add(kind string, pending int) {
	if kind == kindTold {
		c.Delivered++
		return
	}
	c.Failed++
	switch kind {
	case kindDead:
		c.GivenUp++
	case kindGone:
		c.GivenUp += uint64(pending)
	}
}

// Stats are what there is now, and the counts.
type Stats struct {
	Counts
	Pending int           // events that wait
	Dead    int           // dead letters
	Oldest  time.Duration // how long the oldest that waits has; 0 when none does
}

// Stats reads them.
func (o *Outbox) Stats() Stats {
	now := o.cfg.clock.Now()
	o.mu.Lock()
	defer o.mu.Unlock()
	s := Stats{Counts: o.counts}
	for _, b := range o.boxes {
		pending, dead := b.count()
		s.Pending += pending
		s.Dead += dead
		for _, e := range b.entries {
			if !e.dead {
				s.Oldest = max(s.Oldest, now.Sub(e.since))
			}
		}
	}
	return s
}
