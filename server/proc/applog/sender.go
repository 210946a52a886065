package applog

import (
	"errors"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gilliam/hypervisor/isolate/output"
)

// A sender is the part of a Sink that sends: the state of its one goroutine.
//
// A message is handed to the link and is in flight until the receiver has it for
// certain. When the link breaks, every source goes back to what was certain and
// is sent again from there: the log is the only queue there is.
type sender struct {
	*Sink
	link   *link // nil: none yet, or broken
	flight []message
	buf    []byte // of an entry
	text   []byte // of a message

	look    map[*source]bool // those to be looked after: more is certain than was saved, or the log is not readable
	failing map[*source]bool // those of which something failed, which is told once
	tickAt  time.Time        // when to look after them; zero: there is nothing to look after
	ticked  uint64           // how much was sent when that was decided

	retryAt time.Time     // after a failure: when to connect again
	pause   time.Duration // until the next but one
	downed  time.Time     // when the receiver was there last; zero when it is
	ending  bool          // the Sink closes: every source has its limit
}

// A message is one on its way.
type message struct {
	src  *source
	then progress // how far the source was sent with it
	lost uint64   // bytes that it tells are missing
	end  uint64   // what the link has sent with it
}

func newSender(s *Sink) *sender {
	return &sender{
		Sink: s, buf: make([]byte, output.MaxRecord), look: map[*source]bool{}, failing: map[*source]bool{},
		pause: s.times.firstTry,
	}
}

// run gives each source its turn for as long as there is something to send and
// somebody to send it to, and waits otherwise, until the Sink closes.
func (s *sender) run() error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for s.ctx.Err() == nil {
		now := time.Now()
		s.tick(now)
		down := now.Before(s.retryAt)
		if down {
			s.dropGone()
		}
		src, over, closing := s.next(down)
		switch {
		case closing && !s.ending:
			s.end()
		case src != nil:
			s.turn(src, over)
		case closing:
			return s.finish()
		default:
			s.wait(timer, now)
		}
	}
	return s.finish()
}

// wait returns when there may be something to do.
func (s *sender) wait(timer *time.Timer, now time.Time) {
	until := s.tickAt
	if now.Before(s.retryAt) && (until.IsZero() || s.retryAt.Before(until)) {
		until = s.retryAt
	}
	timer.Stop()
	if !until.IsZero() {
		timer.Reset(until.Sub(now))
	}
	select {
	case <-s.wake:
	case <-timer.C:
	case <-s.ctx.Done():
	}
}

// next takes a source out of the queue, unless the receiver is down.
func (s *sender) next(down bool) (src *source, over, closing bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if down || len(s.queue) == 0 || s.closing && !s.ending {
		return nil, false, s.closing
	}
	src, s.queue = s.queue[0], s.queue[1:]
	src.queued = false
	return src, src.over, s.closing
}

// again puts a source back into the queue.
func (s *sender) again(src *source) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if src.begun && !src.queued {
		src.queued = true
		s.queue = append(s.queue, src)
	}
}

// turn sends one entry of a source's log.
func (s *sender) turn(src *source, over bool) {
	reader := s.readerOf(src)
	src.files.left, src.files.err, src.finished = mostReads, nil, false
	e, err := reader.Next(s.buf)
	switch {
	case err == nil:
		err = s.send(src, e)
		if err == nil && (!s.ending || over || reader.Cursor().Position < src.limit) {
			s.again(src)
		}
	case s.ctx.Err() != nil: // which has ended the reading
		err = nil
	case src.files.err != nil:
		s.complain(src, "log not readable", src.files.err)
		s.look[src] = true
		err = nil
	case over:
		src.before = reader.Cursor()
		if err = src.lines.end(false); err == nil {
			src.finished = true
			err = s.sent(src)
		}
	default: // all that is there was sent
		err = nil
	}
	if err != nil {
		s.fail(src, err)
	}
}

// readerOf is a source's reader, which begins before its first turn.
func (s *sender) readerOf(src *source) *output.Reader {
	if src.reader == nil {
		src.lines.emit = func(l Line, used int) error { return s.put(src, l, used) }
		src.rewind()
	}
	return src.reader
}

// send sends what an entry completes.
func (s *sender) send(src *source, e output.Entry) error {
	used := 0
	src.before = e.At
	switch {
	case e.Kind == 0:
		// What was sent of the entry that is no longer there is not lost.
		e.Lost -= min(e.Lost, uint64(src.at.Used))
		e.Time = time.Now().UnixNano()
	case e.At == src.at.Cursor:
		used = min(src.at.Used, len(e.Data))
	}
	if err := src.lines.add(e, used); err != nil {
		return err
	}
	return s.sent(src)
}

// sent notes that all up to where the source's reader is was sent.
func (s *sender) sent(src *source) error {
	src.at = progress{Cursor: src.reader.Cursor(), Rest: src.lines.rest}
	if s.link != nil {
		if err := s.link.flush(); err != nil {
			return err
		}
	}
	s.settle(src)
	return s.confirm(false)
}

// put hands a line to the link, connecting when it must.
func (s *sender) put(src *source, l Line, used int) error {
	if s.link == nil {
		link, err := openLink(s.ctx, s.network, s.address, s.times)
		if err != nil {
			return err
		}
		s.link = link
	}
	then := progress{Cursor: src.before, Used: used, Rest: src.lines.rest}
	if used == 0 {
		then.Used = src.at.Used
	}
	if l.Lost > 0 {
		then.Cursor, then.Used = src.reader.Cursor(), 0
	}
	for i, stream := range streams {
		if l.Stream == stream {
			then.Rest[i] = fragment{}
		}
	}
	s.text = appendMessage(s.text[:0], s.host, src.app, src.name, src.id, l)
	m := message{src: src, then: then}
	if l.Stream == "" {
		m.lost = l.Lost // by us; what the log itself misses is counted there
	}
	err := s.link.put(s.text)
	if errors.Is(err, unix.EMSGSIZE) {
		m.lost, err = uint64(len(l.Text)), nil
	}
	if err != nil {
		return err
	}
	m.end = s.link.sent
	s.flight = append(s.flight, m)
	src.inFlight++
	src.at = then
	if s.link.stream {
		return nil
	}
	return s.confirm(false)
}
