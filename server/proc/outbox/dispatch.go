package outbox

import (
	"context"
	"log/slog"

	"github.com/gilliam/hypervisor/isolate/failpoint"
)

// Start begins to send. Known tells whether there is a proc of that id; of one
// that is not, what waits is still sent and then forgotten.
func (o *Outbox) Start(known func(proc string) bool) {
	o.mu.Lock()
	var empty []*box
	for _, b := range o.boxes {
		b.orphan = !known(b.proc)
		if b.orphan && len(b.entries) == 0 {
			empty = append(empty, b)
		}
		o.plan.place(b)
	}
	o.started = true
	o.dispatch()
	o.mu.Unlock()
	for _, b := range empty {
		b.w.Lock()
		o.sweep(b)
		b.w.Unlock()
	}
}

// dispatch sends all that may be sent now, and sees to it that it is called
// again when more may. Callers hold o.mu.
func (o *Outbox) dispatch() {
	if !o.started || o.stopped {
		return
	}
	now := o.cfg.clock.Now()
	for b := o.plan.next(now); b != nil; b = o.plan.next(now) {
		l := letter{b.head().event, b.target}
		// Owned by the Outbox: ends with the answer, or after the timeout;
		// Close waits for it.
		o.flights.Go(func() {
			o.cfg.Guard.Run("callback", func() { o.attempt(b, l) }, "proc", b.proc)
		})
	}
	if o.timer != nil {
		o.timer()
		o.timer = nil
	}
	if o.drained != nil { // what is not due now is for the next start
		if o.plan.flying == 0 {
			o.stopped = true
			close(o.drained)
		}
		return
	}
	if at, ok := o.plan.wake(); ok {
		o.timer = o.cfg.clock.AfterFunc(at.Sub(now), func() {
			o.mu.Lock()
			defer o.mu.Unlock()
			o.dispatch()
		})
	}
}

// Close sends what is due until ctx ends, and no more after that. What is left
// stays on disk. Events that are appended later are kept for the next start.
func (o *Outbox) Close(ctx context.Context) {
	drained := make(chan struct{})
	o.mu.Lock()
	if o.started && !o.stopped && o.drained == nil {
		o.drained = drained
		o.dispatch()
	} else {
		close(drained)
	}
	o.mu.Unlock()
	select {
	case <-drained:
	case <-ctx.Done():
	}
	o.mu.Lock()
	o.stopped = true
	o.mu.Unlock()
	o.cancel()
	o.flights.Wait()
}

// attempt sends the first event of a box, which next gave, and writes down what
// became of it.
func (o *Outbox) attempt(b *box, l letter) {
	var r result
	if p := o.cfg.Guard.Run("callback", func() { r = o.send(l) }, "proc", b.proc); p != nil {
		r = result{err: p.Error()}
	}
	b.w.Lock()
	defer b.w.Unlock()
	if r.err == "" || o.ctx.Err() == nil { // that we end is no failure of the receiver
		o.settle(b, l.event, r)
	}
	o.mu.Lock()
	o.plan.done(b)
	o.dispatch()
	o.mu.Unlock()
	o.sweep(b)
}

// settle makes the change that follows from an attempt.
func (o *Outbox) settle(b *box, event Event, r result) {
	change, attempts, found := o.judge(b, event, r)
	if !found { // dropped meanwhile
		return
	}
	log := o.log(event).With("attempts", attempts)
	switch change.Kind {
	case kindDead, kindGone:
		log.Warn("callback given up", "err", r.err)
	case kindTry:
		level := slog.LevelDebug
		if attempts == 1 {
			level = slog.LevelWarn
		}
		log.Log(context.Background(), level, "callback failed", "err", r.err, "again_in_seconds", change.Next.Sub(change.At).Seconds())
	}
	if err := o.write(b, false, change); err != nil {
		log.Error("outcome of a callback is not on disk", "outcome", change.Kind, "err", err)
	}
	failpoint.Hit("outbox.settled")
}

// judge says which change follows from an attempt, and how many there were.
func (o *Outbox) judge(b *box, event Event, r result) (change line, attempts int, found bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	at, found := b.find(event.Seq)
	if !found {
		return line{}, 0, false
	}
	e := b.entries[at]
	change = e.after(r, o.cfg.clock.Now(), o.cfg.GiveUpAfter, o.cfg.MaxBackoff, o.cfg.random())
	pending, _ := b.count()
	o.counts.add(change.Kind, pending)
	return change, e.attempts + 1, true
}

func (o *Outbox) log(e Event) *slog.Logger {
	return o.cfg.Log.With("proc", e.Proc, "app", e.App, "name", e.Name, "seq", e.Seq, "state", e.State)
}
