package applog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"
)

// A Sink sends lines to a syslog receiver. It takes them from the logs in the
// procs' folders at the pace of the receiver, and never holds up an app: while
// nobody receives them, they are where they are, and what the ring overwrites
// meanwhile is counted. A nil Sink sends nothing. It is safe for concurrent use.
//
// One goroutine, run, sends for all procs in turn, and one for each proc waits
// for its end. Close ends all of them.
type Sink struct {
	network, address string
	host             string
	log              *slog.Logger
	times            times

	lost   atomic.Uint64
	wake   chan struct{} // holds one: something below has changed
	ctx    context.Context
	cancel context.CancelFunc
	sender sync.WaitGroup
	waits  sync.WaitGroup
	closed error // of run, when it has ended

	mu      sync.Mutex
	sources map[string]*source // by folder
	queue   []*source          // those with something to send, each once
	gone    bool               // one of them has no folder any more
	closing bool
	ended   bool // run has
}

// times are how long a Sink waits for what.
type times struct {
	save     time.Duration // between two writes of a cursor
	dial     time.Duration // for a connection
	stall    time.Duration // for a receiver to take something
	goodbye  time.Duration // for it to take the rest
	firstTry time.Duration // after a failure; twice as long after the next
	lastTry  time.Duration // and no longer than this
}

var defaultTimes = times{
	save: time.Second, dial: 5 * time.Second, stall: 30 * time.Second, goodbye: 2 * time.Second,
	firstTry: 100 * time.Millisecond, lastTry: 30 * time.Second,
}

// OpenSink begins to send to the receiver that a URL names: udp://host:port,
// tcp://host:port or unix:///path, a datagram socket. An empty or "none" URL means
// no sink, nil. That nobody is there yet is no error; it is logged.
func OpenSink(url string, log *slog.Logger) (*Sink, error) { return openSink(url, log, defaultTimes) }

func openSink(url string, log *slog.Logger, t times) (*Sink, error) {
	if url == "" || url == "none" {
		return nil, nil
	}
	network, address, err := parseSink(url)
	if err != nil {
		return nil, err
	}
	host, err := os.Hostname()
	if err != nil {
		host = ""
	}
	s := &Sink{
		network: network, address: address, host: host, log: log.With("sink", url), times: t,
		wake: make(chan struct{}, 1), sources: map[string]*source{},
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	// Owned by the Sink: Close ends it and waits.
	s.sender.Go(func() { s.closed = newSender(s).run() })
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

// Forward sends what is written in dir from the cursor kept in dir/syslog.cursor
// on, until ended is closed and all is sent, or the sink is closed. It returns at
// once. What is in dir when it is called is sent even when dir is removed, if the
// receiver is there.
//
// A folder whose program begins anew is forwarded anew: it goes on where the run
// before ended.
func (s *Sink) Forward(dir, app, name, id string, ended <-chan struct{}) {
	if s == nil {
		return
	}
	dir = filepath.Clean(dir)
	s.mu.Lock()
	if s.closing {
		s.mu.Unlock()
		return
	}
	src, known := s.sources[dir]
	if !known {
		src = &source{dir: dir, app: app, name: name, id: id}
		s.sources[dir] = src
	}
	src.over = false
	src.runs++
	run := src.runs
	// Owned by the Sink: ends with the run or with Close, which waits.
	s.waits.Go(func() {
		select {
		case <-ended:
			s.mu.Lock()
			src.over = src.over || src.runs == run
			s.mu.Unlock()
			s.enqueue(src)
		case <-s.ctx.Done():
		}
	})
	s.mu.Unlock()
	if !known {
		s.begin(src)
	}
	s.enqueue(src)
}

// Lost is how many bytes of output the receiver did not get.
func (s *Sink) Lost() uint64 {
	if s == nil {
		return 0
	}
	return s.lost.Load()
}

// Close sends what is there, if the receiver takes it before ctx ends, and keeps
// in the procs' folders how far it got.
func (s *Sink) Close(ctx context.Context) error {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	s.closing = true
	s.mu.Unlock()
	s.signal()
	stop := context.AfterFunc(ctx, s.cancel)
	s.sender.Wait()
	stop()
	s.cancel()
	s.waits.Wait()
	return s.closed
}

// enqueue lets a source have its turn.
func (s *Sink) enqueue(src *source) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !src.begun || src.queued || s.closing {
		return
	}
	src.queued = true
	s.queue = append(s.queue, src)
	s.signal()
}

func (s *Sink) signal() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// begin finds out where to begin and watches the folder from now on.
func (s *Sink) begin(src *source) {
	src.files = openSegments(s.ctx, src.dir)
	src.files.openAll()
	at, err := loadProgress(src.dir)
	if err != nil {
		s.log.Warn("syslog cursor not readable, sending all there is", "proc", src.id, "err", err)
	}
	src.safe = at
	src.watch, err = watches.add(src.dir, func(gone bool) {
		if gone {
			s.mu.Lock()
			src.gone, s.gone = true, true
			s.mu.Unlock()
			s.signal()
		}
		s.enqueue(src)
	})
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		s.log.Error("log not forwarded", "proc", src.id, "err", err)
	}
	s.mu.Lock()
	src.begun = !s.ended
	late := s.ended
	s.mu.Unlock()
	if late {
		src.close()
	}
}
