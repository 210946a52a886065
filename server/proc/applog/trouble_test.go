package applog

import (
	"context"
	"fmt"
	"net"
	"os"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gilliam/hypervisor/isolate/output"
)

// What the ring overwrites before a receiver comes is counted and told.
func TestReceiverTooLate(t *testing.T) {
	each(t, func(t *testing.T, network string) {
		if network == "udp" {
			return // it loses what the receiver's socket cannot hold
		}
		r := newReceiver(t, network)
		s := newSink(t, r.url(), quick)
		a := newApp(t, output.Limits{Segment: output.MinSegment})
		a.forward(s)
		line := strings.Repeat("x", 9_999) + "\n"
		a.write(output.Stdout, line)
		r.next()
		r.stop()
		written := len(line)
		for range 100 {
			a.write(output.Stdout, line)
			written += len(line)
		}
		a.end()
		r.start()
		heard, lost := len(line), 0
		for heard+lost < written {
			m := r.next()
			if told := regexp.MustCompile(`^<12>1 \S+ \S+ blog web\.1 - \[gilliam@32473 id="id-1" lost="(\d+)"\] \[(\d+) bytes not kept\]$`).FindStringSubmatch(m); told != nil {
				n, err := strconv.Atoi(told[1])
				if err != nil || told[1] != told[2] {
					t.Fatalf("%q", m)
				}
				lost += n
				continue
			}
			heard += len(text(t, m)) + 1
		}
		closeSink(t, s)
		if heard+lost != written || lost == 0 || s.Lost() != uint64(lost) || len(r.got) > 0 {
			t.Errorf("heard %d and %d lost of %d; counted %d; %d messages more", heard, lost, written, s.Lost(), len(r.got))
		}
	})
}

// Procs that come, write, end and are removed while nobody receives leave nothing
// behind but the count of what they wrote.
func TestManyProcsNobodyThere(t *testing.T) {
	goroutines, files := runtime.NumGoroutine(), openFiles(t)
	s := newSink(t, "unix:///nonexistent/log", quick)
	written := 0
	for range 100 {
		a := newApp(t, output.Limits{})
		a.forward(s)
		for n := range 20 {
			a.lines(n, n+1)
			written += len(fmt.Sprintln(n))
		}
		a.end()
		a.close()
		if err := os.RemoveAll(a.dir); err != nil {
			t.Fatal(err)
		}
	}
	await(t, "all procs are dropped", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.sources) == 0
	})
	closeSink(t, s)
	if got := int(s.Lost()); got != written {
		t.Errorf("%d bytes lost of %d", got, written)
	}
	await(t, "the goroutines have ended", func() bool { return runtime.NumGoroutine() <= goroutines })
	if got := openFiles(t); got > files+3 { // the inotify instance, the poller's two
		t.Errorf("%d files are open, %d before", got, files)
	}
	if got := watchesHeld(t); got != 0 {
		t.Errorf("%d inotify watches are held", got)
	}
}

// A receiver that hangs up on everybody is not called again at each line.
func TestNoStormOfCalls(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	hungUp := make(chan struct{}, 1000)
	var accepting sync.WaitGroup
	accepting.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Close()
			hungUp <- struct{}{}
		}
	})
	slow := quick
	slow.firstTry = 2 * time.Hour
	s := newSink(t, "tcp://"+l.Addr().String(), slow)
	for range 20 {
		a := newApp(t, output.Limits{})
		a.forward(s)
		for n := range 100 {
			a.lines(n, n+1)
		}
		defer a.end()
	}
	<-hungUp
	closeSink(t, s)
	l.Close()
	accepting.Wait()
	if len(hungUp) > 0 {
		t.Errorf("%d calls more, though the next was due in hours", len(hungUp))
	}
}

// A receiver that takes connections and reads nothing holds up neither the apps
// nor the sink's end, and what it has not got is sent to the next.
func TestStuckReceiver(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s := newSink(t, "tcp://"+l.Addr().String(), quick)
	a := newApp(t, output.Limits{Segment: 16 << 20})
	a.forward(s)
	const lines = 60_000
	pad := strings.Repeat(".", 100)
	for n := 0; n < lines; n += 100 {
		var b strings.Builder
		for i := range 100 {
			fmt.Fprintf(&b, "%d %s\n", n+i, pad)
		}
		a.write(output.Stdout, b.String())
	}
	a.end()
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	await(t, "the connection is full", func() bool {
		unsent := 0
		_ = control(conn.(*net.TCPConn), func(fd int) error {
			unsent = receiveQueue(fd)
			return nil
		})
		return unsent > 64<<10
	})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Close(ctx); err != nil {
		t.Error(err)
	}
	// What it has in its buffer it may still read.
	stuck := &receiver{t: t, got: make(chan string, lines)}
	stuck.stream(conn)
	next := 0
	number := func(m string) int {
		n, err := strconv.Atoi(strings.Fields(text(t, m))[0])
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	for len(stuck.got) > 0 {
		if n := number(<-stuck.got); n != next {
			t.Fatalf("line %d, want %d", n, next)
		}
		next++
	}
	r := newReceiver(t, "tcp")
	s = newSink(t, r.url(), quick)
	a.forward(s)
	n := number(r.next())
	if n > next {
		t.Fatalf("the next receiver begins at line %d, the one before had %d", n, next)
	}
	t.Logf("the first got %d lines of %d, the second begins at %d", next, lines, n)
	for n++; n < lines; n++ {
		if got := number(r.next()); got != n {
			t.Fatalf("line %d, want %d", got, n)
		}
	}
}

// A program that begins anew in the same folder goes on in the same log.
func TestForwardNextRun(t *testing.T) {
	r := newReceiver(t, "unix")
	s := newSink(t, r.url(), quick)
	a := newApp(t, output.Limits{})
	for n := range 50 {
		a.ended = make(chan struct{})
		a.forward(s)
		a.lines(10*n, 10*n+10)
		a.end()
	}
	r.expect(numbers(0, 500)...)
	closeSink(t, s)
	if len(r.got) > 0 || s.Lost() > 0 {
		t.Errorf("%d messages more, %d bytes lost", len(r.got), s.Lost())
	}
}

// Procs that begin while the sink ends are neither waited for nor left behind.
func TestForwardWhileClosing(t *testing.T) {
	for range 20 {
		r := newReceiver(t, "unix")
		s := newSink(t, r.url(), quick)
		var procs sync.WaitGroup
		for range 10 {
			a := newApp(t, output.Limits{})
			a.lines(0, 3)
			procs.Go(func() { a.forward(s) })
		}
		closeSink(t, s)
		procs.Wait()
		a := newApp(t, output.Limits{})
		a.forward(s)
	}
	if got := watchesHeld(t); got != 0 {
		t.Errorf("%d inotify watches are held", got)
	}
}

// Followers leave nothing behind.
func TestManyFollowers(t *testing.T) {
	goroutines := runtime.NumGoroutine()
	a := newApp(t, output.Limits{})
	b := newApp(t, output.Limits{})
	for n := range 10 {
		a.lines(n, n+1)
		b.lines(n, n+1)
		var all []*follower
		for range 50 {
			all = append(all, a.follow(Options{Tail: 1}), b.follow(Options{Tail: 1}))
		}
		for _, f := range all {
			if got, want := <-f.lines, fmt.Sprint("1:", n); got != want {
				t.Fatalf("got %q, want %q", got, want)
			}
		}
		if got := watchesHeld(t); got != 2 {
			t.Fatalf("%d watches of two folders", got)
		}
		for _, f := range all {
			f.cancel()
		}
		for _, f := range all {
			f.done.Wait()
		}
	}
	await(t, "the goroutines have ended", func() bool { return runtime.NumGoroutine() <= goroutines })
	if got := watchesHeld(t); got != 0 {
		t.Errorf("%d inotify watches are held", got)
	}
}
