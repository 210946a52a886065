package applog

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/gilliam/hypervisor/isolate/output"
)

var all = Options{Tail: -1}

func TestLines(t *testing.T) {
	a := newApp(t, output.Limits{})
	if got := a.read(all); got != "" {
		t.Errorf("an empty log: %q", got)
	}
	a.write(output.Stdout, "a\nb")
	a.write(output.Stderr, "c\nd\n")
	a.write(output.Stdout, "b\n\ne")
	a.write(output.Stderr, "f")
	if got, want := a.read(all), "1:a 2:c 2:d 1:bb 1: 1:e+ 2:f+"; got != want {
		t.Errorf("while it runs: got %q, want %q", got, want)
	}
	a.end()
	for _, follow := range []bool{false, true} {
		if got, want := a.read(Options{Follow: follow, Tail: -1}), "1:a 2:c 2:d 1:bb 1: 1:e 2:f"; got != want {
			t.Errorf("when it has ended: got %q, want %q", got, want)
		}
	}
}

func TestNoLog(t *testing.T) {
	a := &app{t: t, dir: filepath.Join(t.TempDir(), "none"), ended: make(chan struct{})}
	for _, follow := range []bool{false, true} {
		if got := a.read(Options{Follow: follow, Tail: 5}); got != "" {
			t.Errorf("got %q", got)
		}
	}
}

// What cannot be read is not an empty log.
func TestUnreadable(t *testing.T) {
	dir := t.TempDir()
	if err := os.Symlink("log.0", filepath.Join(dir, "log.0")); err != nil {
		t.Fatal(err)
	}
	if err := Read(t.Context(), dir, all, nil, nil); err == nil || !strings.Contains(err.Error(), "log.0") {
		t.Errorf("got %v", err)
	}
}

func TestTail(t *testing.T) {
	a := newApp(t, output.Limits{})
	a.write(output.Stdout, "1\n2\n")
	a.write(output.Stderr, "3")
	a.write(output.Stdout, "4\n")
	a.write(output.Stderr, "5\n6")
	for n, want := range map[int]string{
		-1: "1:1 1:2 1:4 2:35 2:6+", 0: "", 1: "2:6+", 2: "2:35 2:6+", 4: "1:2 1:4 2:35 2:6+", 5: "1:1 1:2 1:4 2:35 2:6+", 99: "1:1 1:2 1:4 2:35 2:6+",
	} {
		if got := a.read(Options{Tail: n}); got != want {
			t.Errorf("tail %d: got %q, want %q", n, got, want)
		}
	}
}

// Who follows does not get what is not whole yet, nor is it counted.
func TestTailOfFollower(t *testing.T) {
	a := newApp(t, output.Limits{})
	a.write(output.Stdout, "4\n")
	a.write(output.Stderr, "35\n6")
	f := a.follow(Options{Tail: 1})
	if got := <-f.lines; got != "2:35" {
		t.Errorf("got %q", got)
	}
	a.write(output.Stderr, "7\n8")
	if got := <-f.lines; got != "2:67" {
		t.Errorf("got %q", got)
	}
	a.end()
	if got := <-f.lines; got != "2:8" {
		t.Errorf("got %q", got)
	}
	if rest, ok := <-f.lines; ok || f.err != nil {
		t.Errorf("got %q, %v", rest, f.err)
	}
}

// With a tail of 0 only what is new comes.
func TestOnlyNew(t *testing.T) {
	a := newApp(t, output.Limits{})
	a.write(output.Stdout, "old\n")
	f := a.follow(Options{})
	for { // until it follows
		a.write(output.Stdout, "new\n")
		select {
		case got := <-f.lines:
			if got != "1:new" {
				t.Errorf("got %q", got)
			}
			f.cancel()
			f.done.Wait()
			return
		default:
			runtime.Gosched()
		}
	}
}

func TestSince(t *testing.T) {
	a := newApp(t, output.Limits{})
	a.write(output.Stdout, "old\nbegun ")
	a.write(output.Stderr, "old\n")
	since := time.Now()
	a.write(output.Stdout, "before\n")
	a.write(output.Stderr, "new\nnewer\n")
	if got, want := a.read(Options{Tail: -1, Since: since}), "2:new 2:newer"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := a.read(Options{Tail: 1, Since: since}), "2:newer"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := a.read(Options{Tail: -1, Since: time.Now().Add(time.Hour)}); got != "" {
		t.Errorf("since later: got %q", got)
	}
}

// Every line comes once, in order, across many rotations of the ring.
func TestFollow(t *testing.T) {
	a := newApp(t, output.Limits{Segment: output.MinSegment})
	f := a.follow(all)
	const lines, batch = 20_000, 100
	text := strings.Repeat("x", 200)
	for n := 0; n < lines; n += batch {
		var b strings.Builder
		for i := range batch {
			fmt.Fprintf(&b, "%d %s\n", n+i, text)
		}
		a.write(output.Stdout+output.Kind(n/batch%2), b.String())
		for i := range batch {
			if got, want := <-f.lines, fmt.Sprintf("%d:%d %s", 1+n/batch%2, n+i, text); got != want {
				t.Fatalf("got %.40q, want %.40q", got, want)
			}
		}
	}
	a.write(output.Stdout, "the end")
	a.end()
	if got, ok := <-f.lines; !ok || got != "1:the end" {
		t.Errorf("got %q", got)
	}
	if got, ok := <-f.lines; ok || f.err != nil {
		t.Errorf("after the end: %q, %v", got, f.err)
	}
}

// A reader that the ring overtakes is told how much it has missed, and one that
// comes late how much there was before.
func TestLost(t *testing.T) {
	a := newApp(t, output.Limits{Segment: output.MinSegment})
	a.write(output.Stdout, "first\nhalf")
	f := a.follow(all)
	if got := <-f.lines; got != "1:first" {
		t.Fatal(got)
	}
	line := strings.Repeat("x", 9_999) + "\n"
	written := len("first\nhalf")
	for range 200 {
		a.write(output.Stderr, line)
		written += len(line)
	}
	a.end()
	total, half := len("first\n"), 0
	for got := range f.lines {
		var lost int
		if n, _ := fmt.Sscanf(got, "?:-%d", &lost); n == 1 {
			total += lost
		} else if got == "1:half" {
			total += len("half")
			half++
		} else {
			total += len(got) - len("2:") + 1
		}
	}
	if total != written || half != 1 {
		t.Errorf("heard of %d bytes, %d were written; the unfinished line came %d times", total, written, half)
	}
	late := strings.Fields(a.read(all))
	var lost int
	if _, err := fmt.Sscanf(late[0], "?:-%d", &lost); err != nil || lost+(len(late)-1)*len(line) != written {
		t.Errorf("%d lines after %s, of %d bytes", len(late)-1, late[0], written)
	}
	if got := a.read(Options{Tail: 2}); got != late[len(late)-2]+" "+late[len(late)-1] {
		t.Errorf("the last two: %.100q", got)
	}
}

// What the rate did not allow is told where it is missing, on its stream.
func TestDropped(t *testing.T) {
	a := newApp(t, output.Limits{Rate: output.MaxRecord})
	a.write(output.Stderr, "x\ny")
	a.write(output.Stdout, "half")
	a.write(output.Stdout, strings.Repeat("y", 60_000))
	a.write(output.Stdout, strings.Repeat("z", 20_000)) // dropped
	a.out.Tell()
	a.write(output.Stdout, "rest\n")
	a.end()
	got := a.read(all)
	const end = "yyy 1:-20000 1:rest 2:y"
	if strings.Contains(got, "z") || !strings.HasPrefix(got, "2:x 1:halfy") || !strings.HasSuffix(got, end) {
		t.Errorf("got %.20q … %q", got, got[max(0, len(got)-40):])
	}
}

func TestReadEndsWithContext(t *testing.T) {
	a := newApp(t, output.Limits{})
	a.write(output.Stdout, "x\n")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	err := Read(ctx, a.dir, Options{Follow: true, Tail: 1}, a.ended, func(Line) error { cancel(); return nil })
	if err != nil {
		t.Error(err)
	}
	stop := errors.New("stop")
	for _, tail := range []int{-1, 1} {
		err := Read(t.Context(), a.dir, Options{Follow: true, Tail: tail}, a.ended, func(Line) error { return stop })
		if err != stop {
			t.Errorf("got %v, want the callback's own error", err)
		}
	}
}
