package server

import (
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// A full listener has no file for a connection before a number of attempts.
type full struct {
	room     int
	attempts []time.Time
	closed   chan struct{}
}

func (f *full) Accept() (net.Conn, error) {
	f.attempts = append(f.attempts, time.Now())
	switch {
	case len(f.attempts) < f.room:
		return nil, &net.OpError{Op: "accept", Net: "unix", Err: os.NewSyscallError("accept4", syscall.EMFILE)}
	case len(f.attempts) == f.room:
		ours, theirs := net.Pipe()
		theirs.Close()
		return ours, nil
	}
	<-f.closed
	return nil, net.ErrClosed
}

func (f *full) Close() error   { close(f.closed); return nil }
func (f *full) Addr() net.Addr { return &net.UnixAddr{Name: "full", Net: "unix"} }

// Where there is no file left for a connection, the server tries again, less and
// less often, and tells of it once.
func TestAcceptWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // whose clock is not the machine's
		var text syncBuffer
		l := &full{room: 60, closed: make(chan struct{})}
		srv := &http.Server{ErrorLog: log.New(io.Discard, "", 0)}
		done := make(chan error)
		start := time.Now()
		go func() { done <- srv.Serve(&acceptor{Listener: l, log: slog.New(slog.NewTextHandler(&text, nil))}) }() // owner: the test
		time.Sleep(time.Hour)
		srv.Close()
		if err := <-done; err != http.ErrServerClosed {
			t.Errorf("got %v: it gave up", err)
		}
		early := 0
		for _, at := range l.attempts {
			if at.Sub(start) < 30*time.Second {
				early++
			}
		}
		if early > 50 || len(l.attempts) != l.room+1 {
			t.Errorf("%d attempts in 30 s, %d in all", early, len(l.attempts))
		}
		failed, again := strings.Count(text.String(), "no connection can be accepted"), strings.Count(text.String(), "accepted again")
		if failed != 1 || again != 1 || !strings.Contains(text.String(), "too many open files") {
			t.Errorf("log:\n%s", text.String())
		}
	})
}
