package outbox

import "github.com/gilliam/hypervisor/isolate/failpoint"

// write makes changes of a box: on disk, then in memory. Callers hold b.w. When
// the disk fails the changes are made in memory alone, and the next one writes
// the whole file.
func (o *Outbox) write(b *box, sync bool, lines ...line) error {
	text, anew, err := o.text(b, lines)
	switch {
	case err != nil:
	case anew:
		err = o.disk.replace(fileOf(b.proc), text)
	default:
		err = o.disk.append(fileOf(b.proc), text, sync)
	}

	o.mu.Lock()
	defer o.mu.Unlock()
	b.stale = err != nil
	switch {
	case err != nil:
		o.counts.WriteErrors++
	case anew:
		b.size, b.base = len(text), len(text)
	default:
		b.size += len(text)
	}
	for _, l := range lines {
		before := len(b.entries)
		if bad := b.apply(l); bad != nil {
			panic("bug: " + bad.Error())
		}
		o.total += len(b.entries) - before
		if l.Kind == kindEvent && b.gone {
			o.counts.GivenUp++
		}
	}
	o.plan.place(b)
	o.dispatch()
	return err
}

// text is what is written to a box's file to make changes of it: the changes, or
// the whole file anew.
func (o *Outbox) text(b *box, changes []line) (text []byte, anew bool, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	anew = b.stale || b.size-b.base > max(o.cfg.limits.rewrite, b.base)
	if anew {
		changes = append(b.lines(), changes...)
	}
	text, err = encode(changes...)
	return text, anew, err
}

// makeRoom removes the event that is least worth keeping when there are too
// many: of this proc when it has had its share, or else of the one with most.
func (o *Outbox) makeRoom(b *box) {
	from := b
	o.mu.Lock()
	switch {
	case len(b.entries) >= o.cfg.limits.perProc:
	case o.total >= o.cfg.limits.all:
		for _, other := range o.boxes {
			if len(other.entries) > len(from.entries) {
				from = other
			}
		}
	default:
		o.mu.Unlock()
		return
	}
	e := from.victim()
	if e == nil {
		o.mu.Unlock()
		return
	}
	event, dead := e.event, e.dead
	o.counts.Dropped++
	o.mu.Unlock()

	from.w.Lock()
	defer from.w.Unlock()
	err := o.write(from, false, line{Kind: kindDrop, Seq: event.Seq})
	o.log(event).Error("dropped a callback: too many wait", "dead_letter", dead, "err", err)
	o.sweep(from)
}

// Forget tells that a proc is gone and will have no more events. What waits is
// still sent, and dead letters stay; when there is nothing left its file goes.
func (o *Outbox) Forget(proc string) {
	o.mu.Lock()
	b := o.boxes[proc]
	o.mu.Unlock()
	if b == nil {
		return
	}
	b.w.Lock()
	defer b.w.Unlock()
	o.mu.Lock()
	b.orphan = true
	o.mu.Unlock()
	o.sweep(b)
}

// sweep removes a box that nobody needs any more. Callers hold b.w.
func (o *Outbox) sweep(b *box) {
	o.mu.Lock()
	if !b.orphan || len(b.entries) > 0 || o.boxes[b.proc] != b {
		o.mu.Unlock()
		return
	}
	delete(o.boxes, b.proc)
	o.mu.Unlock()
	failpoint.Hit("outbox.emptied")
	if err := o.disk.remove(fileOf(b.proc)); err != nil {
		o.cfg.Log.Warn("remove callbacks of a proc that is gone", "proc", b.proc, "err", err)
	}
}
