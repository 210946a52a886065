package outbox

import (
	"container/heap"
	"time"
)

// A schedule says which box is sent from next. It has no lock, no clock and no
// goroutine of its own.
//
// A box has at most one event on its way, the first that waits. So many may be
// on their way in all, and so many to one host: what goes beyond its host's
// share stands aside and is in nobody's way.
type schedule struct {
	most, perHost int

	flying int
	due    dueHeap // the boxes that have something to send, but those that fly or stand aside
	hosts  map[string]*hostShare
}

// A hostShare is what is on its way to one host, and what stands aside for it.
type hostShare struct {
	flying int
	aside  []*box
}

// A flight is a box's part of the schedule.
type flight struct {
	index  int       // in due; -1: not there
	at     time.Time // when its head is due
	flying bool
	aside  bool
}

func newSchedule(most, perHost int) *schedule {
	return &schedule{most: most, perHost: perHost, hosts: map[string]*hostShare{}}
}

// place puts a box where its head belongs, after a change of it.
func (s *schedule) place(b *box) {
	if b.flying || b.aside {
		return // when it comes back
	}
	head := b.head()
	switch {
	case head == nil && b.index >= 0:
		heap.Remove(&s.due, b.index)
		s.callIn(b.host)
	case head == nil:
	case b.index >= 0:
		later := head.next.After(b.at)
		b.at = head.next
		heap.Fix(&s.due, b.index)
		if later {
			s.callIn(b.host)
		}
	default:
		b.at = head.next
		heap.Push(&s.due, b)
	}
}

// next is the box to send from now, which flies until done is called; nil when
// there is none.
func (s *schedule) next(now time.Time) *box {
	for s.flying < s.most && len(s.due) > 0 && !s.due[0].at.After(now) {
		b := heap.Pop(&s.due).(*box)
		h := s.hosts[b.host]
		if h == nil {
			h = &hostShare{}
			s.hosts[b.host] = h
		}
		if h.flying >= s.perHost {
			b.aside = true
			h.aside = append(h.aside, b)
			continue
		}
		b.flying = true
		h.flying++
		s.flying++
		return b
	}
	return nil
}

// done takes a box back that next gave.
func (s *schedule) done(b *box) {
	b.flying = false
	s.flying--
	h := s.hosts[b.host]
	h.flying--
	s.place(b)
	s.callIn(b.host)
	if h.flying == 0 && len(h.aside) == 0 {
		delete(s.hosts, b.host)
	}
}

// callIn lets one that stands aside for a host come forward, when another may
// leave it a place.
func (s *schedule) callIn(host string) {
	h := s.hosts[host]
	for h != nil && len(h.aside) > 0 {
		first := h.aside[0]
		h.aside = h.aside[1:]
		first.aside = false
		head := first.head()
		stillDue := head != nil && !head.next.After(first.at)
		s.place(first)
		if stillDue {
			return
		}
	}
}

// wake is when next should be asked again, if nothing changes before.
func (s *schedule) wake() (at time.Time, ok bool) {
	if s.flying >= s.most || len(s.due) == 0 {
		return at, false
	}
	return s.due[0].at, true
}

// A dueHeap is a heap of boxes, the first due at its top; see container/heap.
type dueHeap []*box

func (d dueHeap) Len() int           { return len(d) }
func (d dueHeap) Less(i, j int) bool { return d[i].at.Before(d[j].at) }

func (d dueHeap) Swap(i, j int) {
	d[i], d[j] = d[j], d[i]
	d[i].index, d[j].index = i, j
}

// Push is for package heap.
func (d *dueHeap) Push(x any) {
	b := x.(*box)
	b.index = len(*d)
	*d = append(*d, b)
}

// Pop is for package heap.
func (d *dueHeap) Pop() any {
	last := len(*d) - 1
	b := (*d)[last]
	(*d)[last] = nil
	*d = (*d)[:last]
	b.index = -1
	return b
}
