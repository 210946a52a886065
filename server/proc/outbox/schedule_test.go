package outbox

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

func boxWith(host string, due ...time.Time) *box {
	b := newBox()
	b.host = host
	for n, at := range due {
		b.entries = append(b.entries, &entry{event: Event{Seq: uint64(n + 1)}, next: at})
	}
	return b
}

// A host that takes long has its share and no more; who waits for it is in
// nobody's way, and has its turn by its age.
func TestShares(t *testing.T) {
	now := time.Unix(1000, 0)
	s := newSchedule(5, 2)
	var slow []*box
	for n := range 4 {
		b := boxWith("slow", now.Add(time.Duration(n-10)*time.Second))
		slow = append(slow, b)
		s.place(b)
	}
	quick := boxWith("quick", now, now)
	s.place(quick)
	later := boxWith("later", now.Add(time.Second))
	s.place(later)
	next := func(want *box) {
		t.Helper()
		if got := s.next(now); got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
	next(slow[0])
	next(slow[1])
	next(quick)
	next(nil)
	if at, ok := s.wake(); !ok || !at.Equal(now.Add(time.Second)) {
		t.Errorf("got %v %v", at, ok)
	}
	quick.entries = quick.entries[1:]
	s.done(quick)
	next(quick)
	next(nil)
	slow[0].entries = nil
	s.done(slow[0])
	next(slow[2])
	next(nil)
	slow[3].entries = nil // while it stands aside
	s.place(slow[3])
	slow[1].entries = nil
	s.done(slow[1])
	next(nil)
	later.entries[0].next = now
	s.place(later)
	next(later)
	later.entries, slow[2].entries, quick.entries = nil, nil, nil
	for _, b := range []*box{later, slow[2], quick} {
		s.done(b)
	}
	if s.flying != 0 || len(s.due) != 0 || len(s.hosts) != 0 {
		t.Errorf("left: %+v", s)
	}
}

// Who was called in and then has nothing to send yet leaves its place to the
// next that stands aside.
func TestPlaceIsPassedOn(t *testing.T) {
	now := time.Unix(1000, 0)
	ago := func(seconds int) time.Time { return now.Add(-time.Duration(seconds) * time.Second) }
	for name, rest := range map[string][]time.Time{"nothing": nil, "nothing yet": {now.Add(time.Minute)}} {
		s := newSchedule(2, 1)
		first, second, third := boxWith("h", ago(10)), boxWith("h", append([]time.Time{ago(9)}, rest...)...), boxWith("h", ago(8))
		other, urgent := boxWith("g", ago(7)), boxWith("f", ago(20))
		for _, b := range []*box{first, second, third, other} {
			s.place(b)
		}
		got := []*box{s.next(now), s.next(now)} // first and other; second and third stand aside
		s.place(urgent)
		first.entries = nil
		s.done(first) // calls second in
		got = append(got, s.next(now))
		second.entries = second.entries[1:]
		s.place(second)
		other.entries = nil
		s.done(other)
		got = append(got, s.next(now))
		for n, want := range []*box{first, other, urgent, third} {
			if got[n] != want {
				t.Errorf("%s: number %d is %+v, want %+v", name, n, got[n], want)
			}
		}
	}
}

// Whatever happens in whatever order, the bounds are kept, everything due is
// sent as soon as there is room, and nothing before its time.
func TestScheduleAtRandom(t *testing.T) {
	for seed := range uint64(300) {
		if err := scheduleAtRandom(rand.New(rand.NewPCG(seed, 0))); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
}

func scheduleAtRandom(r *rand.Rand) error {
	s := newSchedule(1+r.IntN(6), 1+r.IntN(3))
	hosts := 1 + r.IntN(5)
	now := time.Unix(1000, 0)
	var boxes, flying []*box
	for range 30 {
		b := boxWith(fmt.Sprint("host", r.IntN(hosts)))
		boxes = append(boxes, b)
	}
	for range 500 {
		b := boxes[r.IntN(len(boxes))]
		switch r.IntN(5) {
		case 0:
			b.entries = append(b.entries, &entry{next: now.Add(time.Duration(r.IntN(10)-3) * time.Second)})
			s.place(b)
		case 1:
			if len(b.entries) > 0 && !b.flying {
				b.entries = b.entries[1:]
				s.place(b)
			}
		case 2:
			now = now.Add(time.Duration(r.IntN(3)) * time.Second)
		default:
			if len(flying) > 0 {
				n := r.IntN(len(flying))
				b, flying = flying[n], append(flying[:n:n], flying[n+1:]...)
				if r.IntN(2) == 0 {
					b.entries = b.entries[1:]
				} else {
					b.entries[0].next = now.Add(time.Second)
				}
				s.done(b)
			}
		}
		for b := s.next(now); b != nil; b = s.next(now) {
			flying = append(flying, b)
		}
		if err := s.check(now, boxes, flying); err != nil {
			return err
		}
	}
	return nil
}

// check compares the schedule with the boxes that it is of.
func (s *schedule) check(now time.Time, boxes, flying []*box) error {
	hosts := map[string]int{}
	seen := map[*box]bool{}
	for _, b := range flying {
		if seen[b] || !b.flying {
			return fmt.Errorf("one box flies twice, or does not know: %+v", b)
		}
		seen[b] = true
		hosts[b.host]++
	}
	if len(flying) > s.most || len(flying) != s.flying {
		return fmt.Errorf("%d fly, it counts %d of %d", len(flying), s.flying, s.most)
	}
	for _, b := range boxes {
		if hosts[b.host] > s.perHost {
			return fmt.Errorf("%d fly to %s", hosts[b.host], b.host)
		}
		head := b.head()
		if !b.flying && head != nil && !head.next.After(now) && len(flying) < s.most && hosts[b.host] < s.perHost {
			return fmt.Errorf("a box is due and there is room: %+v", b)
		}
		if at, ok := s.wake(); !b.flying && !b.aside && head != nil && len(flying) < s.most && (!ok || at.After(head.next)) {
			return fmt.Errorf("it would sleep until %v %v, a box is due at %v", at, ok, head.next)
		}
	}
	return nil
}

func TestBackoffWithin(t *testing.T) {
	for _, most := range []time.Duration{time.Millisecond, time.Second, 90 * time.Second, 5 * time.Minute} {
		for n := 1; n < 100; n++ {
			low, high := backoff(n, most, 0), backoff(n, most, 1)
			if low != min(time.Second, most) || high < low || high > most || n > 20 && high != most {
				t.Errorf("attempt %d, at most %v: from %v to %v", n, most, low, high)
			}
		}
	}
	if got := backoff(3, time.Minute, .5); got != 4500*time.Millisecond {
		t.Errorf("got %v", got)
	}
}
