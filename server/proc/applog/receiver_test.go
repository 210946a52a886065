package applog

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gilliam/hypervisor/isolate/output"
)

// patience is how long a test waits for what must come.
const patience = 20 * time.Second

// A receiver is a real syslog receiver of one of the three kinds, which can go
// away and come back at the same address.
type receiver struct {
	t       testing.TB
	network string
	address string // for the next start
	got     chan string

	mu     sync.Mutex
	open   []io.Closer
	served sync.WaitGroup
}

func newReceiver(t testing.TB, network string) *receiver {
	t.Helper()
	r := &receiver{t: t, network: network, got: make(chan string, 400_000)}
	switch network {
	case "unix":
		r.address = filepath.Join(t.TempDir(), "log")
	default:
		r.address = "127.0.0.1:0"
	}
	r.start()
	t.Cleanup(r.stop)
	return r
}

func (r *receiver) url() string { return r.network + "://" + r.address }

func (r *receiver) start() {
	r.t.Helper()
	if r.network == "tcp" {
		l, err := net.Listen("tcp", r.address)
		if err != nil {
			r.t.Fatal(err)
		}
		r.address = l.Addr().String()
		r.add(l)
		r.served.Go(func() { r.accept(l) })
		return
	}
	network := r.network
	if network == "unix" {
		network = "unixgram"
		_ = os.Remove(r.address) // of the one before
	}
	c, err := net.ListenPacket(network, r.address)
	if err != nil {
		r.t.Fatal(err)
	}
	r.address = c.LocalAddr().String()
	r.add(c)
	r.served.Go(func() {
		buf := make([]byte, 100_000)
		for {
			n, _, err := c.ReadFrom(buf)
			if err != nil {
				return
			}
			r.got <- string(buf[:n])
		}
	})
}

func (r *receiver) add(c io.Closer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.open = append(r.open, c)
}

func (r *receiver) accept(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		r.add(c)
		r.served.Go(func() { r.stream(c) })
	}
}

// stream reads messages with their length before them. One that is cut off by the
// end of the connection does not count.
func (r *receiver) stream(c net.Conn) {
	defer c.Close()
	in := bufio.NewReader(c)
	for {
		length, err := in.ReadString(' ')
		if err != nil {
			return
		}
		n, err := strconv.Atoi(strings.TrimSuffix(length, " "))
		if err != nil || n <= 0 || n > 100_000 {
			r.t.Errorf("a message of %q bytes", length)
			return
		}
		b := make([]byte, n)
		if _, err := io.ReadFull(in, b); err != nil {
			return
		}
		r.got <- string(b)
	}
}

// stop is the receiver's end; what it has not read is gone with it.
func (r *receiver) stop() {
	r.mu.Lock()
	for _, c := range r.open {
		c.Close()
	}
	r.open = nil
	r.mu.Unlock()
	r.served.Wait()
}

// next is the next message.
func (r *receiver) next() string {
	r.t.Helper()
	select {
	case m := <-r.got:
		return m
	case <-time.After(patience):
		r.t.Fatal("no message")
		return ""
	}
}

// text is what the app wrote of a message.
func text(t testing.TB, m string) string {
	t.Helper()
	_, rest, ok := strings.Cut(m, `[gilliam@32473 id="`)
	_, rest, ok2 := strings.Cut(rest, "] ")
	if !ok || !ok2 {
		t.Fatalf("no such message: %q", m)
	}
	return rest
}

// expect are the texts that must come next.
func (r *receiver) expect(texts ...string) {
	r.t.Helper()
	for _, want := range texts {
		if got := text(r.t, r.next()); got != want {
			r.t.Fatalf("got %.60q, want %.60q", got, want)
		}
	}
}

// quick are times that a test can wait for.
var quick = times{
	save: 10 * time.Millisecond, dial: patience, stall: patience, goodbye: patience,
	firstTry: time.Millisecond, lastTry: 20 * time.Millisecond,
}

func newSink(t testing.TB, url string, times times) *Sink {
	t.Helper()
	s, err := openSink(url, slog.New(slog.NewTextHandler(logWriter{t}, nil)), times)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeSink(t, s) })
	return s
}

func closeSink(t testing.TB, s *Sink) {
	t.Helper()
	if err := s.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

type logWriter struct{ t testing.TB }

func (w logWriter) Write(b []byte) (int, error) {
	w.t.Log(string(bytes.TrimSpace(b)))
	return len(b), nil
}

func (a *app) forward(s *Sink) { s.Forward(a.dir, "blog", "web.1", "id-1", a.ended) }

// awaitSaved returns when the cursor says that all that was written is sent.
func (a *app) awaitSaved() {
	a.t.Helper()
	files := openSegments(a.t.Context(), a.dir)
	defer files.close()
	files.left = mostReads
	end := output.NewReader(files.readers(), output.Cursor{}).Written()
	await(a.t, "the cursor is saved", func() bool {
		at, err := loadProgress(a.dir)
		return err == nil && at.Cursor.Position == end
	})
}

// lines writes numbered lines.
func (a *app) lines(from, to int) {
	a.t.Helper()
	var b strings.Builder
	for n := from; n < to; n++ {
		fmt.Fprintln(&b, n)
	}
	a.write(output.Stdout, b.String())
}

// numbers are those lines.
func numbers(from, to int) []string {
	var all []string
	for n := from; n < to; n++ {
		all = append(all, strconv.Itoa(n))
	}
	return all
}
