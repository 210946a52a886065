package proc

import (
	"testing"
	"time"
)

func TestReserve(t *testing.T) {
	r := Reserve{Bytes: 10 << 30}
	if got := r.of(1 << 40); got != 10<<30 {
		t.Errorf("reserve %d", got)
	}
	if got := (Reserve{Percent: 5}).of(100 << 30); got != 5<<30 {
		t.Errorf("reserve %d", got)
	}
	for _, c := range []struct {
		before bool
		free   int64
		held   bool
		next   time.Duration
	}{
		{false, 500 << 30, false, 10 * time.Second},
		{false, 7 << 30, false, 2 * time.Second},
		{false, 5 << 30, false, 250 * time.Millisecond},
		{false, 5<<30 - 1, true, 250 * time.Millisecond},
		{false, 0, true, 250 * time.Millisecond},
		{true, 7 << 30, true, 2 * time.Second},
		{true, 8 << 30, false, 3 * time.Second},
	} {
		if got := r.heldBack(c.before, c.free, 1<<40); got != c.held {
			t.Errorf("%+v: got %v", c, got)
		}
		if got := r.nextLook(c.free, 1<<40); got != c.next {
			t.Errorf("%+v: next %v", c, got)
		}
	}
}
