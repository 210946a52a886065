package applog

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// A Sink sends the apps' lines to a syslog receiver, as the original did,
// with the tag app[name] (RFC 3164). It never holds an app up: what the receiver
// does not take is dropped and counted. It is safe for concurrent use.
type Sink struct {
	network, address string
	host             string
	queue            chan []byte
	lost             atomic.Uint64
	done             sync.WaitGroup
	ctx              context.Context
	cancel           context.CancelFunc
}

// OpenSink starts the sink named by a URL, udp://host:port, tcp://host:port or
// unix:///path. An empty or "none" URL means no sink, nil.
func OpenSink(sink string, _ *slog.Logger) (*Sink, error) {
	if sink == "" || sink == "none" {
		return nil, nil
	}
	network, address, err := parseSink(sink)
	if err != nil {
		return nil, err
	}
	host, err := os.Hostname()
	if err != nil {
		host = "-"
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := &Sink{network: network, address: address, host: host, queue: make(chan []byte, 1024), ctx: ctx, cancel: cancel}
	// Owned by the sink: close ends it and waits.
	s.done.Go(func() { s.run(ctx) })
	return s, nil
}

func parseSink(sink string) (network, address string, err error) {
	const want = "log sink %q: must be udp://host:port, tcp://host:port, unix:///path or none"
	u, err := url.Parse(sink)
	if err != nil {
		return "", "", fmt.Errorf(want, sink)
	}
	switch {
	case (u.Scheme == "udp" || u.Scheme == "tcp") && u.Hostname() != "" && u.Port() != "" && u.Path == "":
		return u.Scheme, u.Host, nil
	case u.Scheme == "unix" && u.Host == "" && len(u.Path) > 1:
		return "unixgram", u.Path, nil
	}
	return "", "", fmt.Errorf(want, sink)
}

// send queues one line.
func (s *Sink) send(at time.Time, stream, tag string, text []byte) {
	const user, info, err = 1 << 3, 6, 3
	priority := user | info
	if stream == "stderr" {
		priority = user | err
	}
	line := fmt.Appendf(nil, "<%d>%s %s %s: ", priority, at.Local().Format(time.Stamp), s.host, tag)
	line = append(line, text...)
	select {
	case s.queue <- line:
	default:
		s.lost.Add(1)
	}
}

// Forward sends what is written in dir from now on, until ended is closed and all
// is sent. A nil Sink sends nothing.
func (s *Sink) Forward(dir, app, name, _ string, ended <-chan struct{}) {
	if s == nil {
		return
	}
	// Owned by the sink: Close waits for it.
	s.done.Go(func() {
		_ = Read(s.ctx, dir, Options{Follow: true, Tail: -1}, ended, func(l Line) error {
			s.send(l.Time, l.Stream, app+"["+name+"]", l.Text)
			return nil
		})
	})
}

// Lost is how many lines the receiver did not get.
func (s *Sink) Lost() uint64 {
	if s == nil {
		return 0
	}
	return s.lost.Load()
}

// Close ends the sink. A nil Sink has nothing to end.
func (s *Sink) Close(context.Context) error {
	if s == nil {
		return nil
	}
	s.cancel()
	s.done.Wait()
	return nil
}

// run sends what is queued, connecting when it must. After a failure it drops
// lines for a while instead of trying at each.
func (s *Sink) run(ctx context.Context) {
	const wait, pause = 2 * time.Second, time.Second
	var conn net.Conn
	var retry time.Time
	defer func() {
		if conn != nil {
			conn.Close()
		}
	}()
	for {
		var line []byte
		select {
		case line = <-s.queue:
		case <-ctx.Done():
			return
		}
		if conn == nil && time.Now().After(retry) {
			dialer := net.Dialer{Timeout: wait}
			conn, _ = dialer.DialContext(ctx, s.network, s.address)
		}
		if conn == nil {
			s.lost.Add(1)
			if time.Now().After(retry) {
				retry = time.Now().Add(pause)
			}
			continue
		}
		if s.network == "tcp" {
			line = append(line, '\n') // RFC 6587, non-transparent framing
		}
		_ = conn.SetWriteDeadline(time.Now().Add(wait))
		if _, err := conn.Write(line); err != nil {
			s.lost.Add(1)
			conn.Close()
			conn, retry = nil, time.Now().Add(pause)
		}
	}
}
