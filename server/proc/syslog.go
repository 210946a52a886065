package proc

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// A syslogSink sends the apps' lines to a syslog receiver, as the original did,
// with the tag app[name] (RFC 3164). It never holds an app up: what the receiver
// does not take is dropped and counted. It is safe for concurrent use.
type syslogSink struct {
	network, address string
	host             string
	queue            chan []byte
	lost             atomic.Uint64
	done             sync.WaitGroup
	cancel           context.CancelFunc
}

// openSyslog starts the sink named by a URL, udp://host:port, tcp://host:port or
// unix:///path. An empty or "none" URL means no sink, nil.
func openSyslog(sink string) (*syslogSink, error) {
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
	s := &syslogSink{network: network, address: address, host: host, queue: make(chan []byte, 1024), cancel: cancel}
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
func (s *syslogSink) send(at time.Time, stream, tag string, text []byte) {
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

// dropped is how many lines the receiver did not get.
func (s *syslogSink) dropped() uint64 {
	if s == nil {
		return 0
	}
	return s.lost.Load()
}

func (s *syslogSink) close() {
	if s == nil {
		return
	}
	s.cancel()
	s.done.Wait()
}

// run sends what is queued, connecting when it must. After a failure it drops
// lines for a while instead of trying at each.
func (s *syslogSink) run(ctx context.Context) {
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
