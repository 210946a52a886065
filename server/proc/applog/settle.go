package applog

import (
	"errors"
	"io/fs"
	"math/rand/v2"
	"slices"
	"time"
)

// confirm finds out what of that in flight the receiver has.
func (s *sender) confirm(quiet bool) error {
	if len(s.flight) == 0 {
		return nil
	}
	settled, err := s.link.settled(quiet)
	if err != nil {
		return err
	}
	n := 0
	for ; n < len(s.flight) && s.flight[n].end <= settled; n++ {
		m := s.flight[n]
		m.src.safe = m.then
		m.src.inFlight--
		s.lost.Add(m.lost)
		s.settle(m.src)
	}
	s.flight = slices.Delete(s.flight, 0, n)
	if n > 0 {
		s.reachable()
	}
	return nil
}

// settle notes that a source of which nothing is in flight is certain as far as
// it was sent, and lets go of one of which nothing more will come.
func (s *sender) settle(src *source) {
	s.look[src] = true
	if src.inFlight > 0 {
		return
	}
	src.safe = src.at
	if !src.finished {
		return
	}
	s.mu.Lock()
	begunAnew := !src.over && !src.gone
	s.mu.Unlock()
	if begunAnew {
		return
	}
	_ = s.save(src)
	s.drop(src)
}

// drop lets go of a source.
func (s *sender) drop(src *source) {
	s.mu.Lock()
	delete(s.sources, src.dir)
	if src.queued {
		s.queue = slices.DeleteFunc(s.queue, func(other *source) bool { return other == src })
	}
	src.begun, src.queued = false, false
	s.mu.Unlock()
	delete(s.look, src)
	delete(s.failing, src)
	src.close()
}

// dropGone lets go of those whose folder was removed while nobody receives: what
// was not sent of them is lost. They would pile up.
func (s *sender) dropGone() {
	var gone []*source
	s.mu.Lock()
	if s.gone {
		s.gone = false
		for _, src := range s.sources {
			if src.gone && src.begun {
				gone = append(gone, src)
			}
			s.gone = s.gone || src.gone && !src.begun
		}
	}
	s.mu.Unlock()
	for _, src := range gone {
		s.lost.Add(unsent(s.readerOf(src), src))
		s.drop(src)
	}
}

// fail drops the link, and every source goes back to what the receiver has. src
// is the one that had its turn, or nil.
func (s *sender) fail(src *source, err error) {
	if s.link != nil {
		_ = s.confirm(false)
		s.link.close()
		s.link = nil
	}
	for _, m := range s.flight {
		if m.src.inFlight > 0 {
			m.src.rewind()
			s.again(m.src)
		}
	}
	s.flight = slices.Delete(s.flight, 0, len(s.flight))
	if src != nil {
		src.rewind()
		s.again(src)
	}
	now := time.Now()
	s.retryAt = now.Add(s.pause/2 + rand.N(s.pause))
	s.pause = min(2*s.pause, s.times.lastTry)
	if s.downed.IsZero() && s.ctx.Err() == nil {
		s.downed = now
		s.log.Warn("syslog receiver not reachable, logs wait in their files", "err", err)
	}
}

// reachable notes that the receiver takes messages.
func (s *sender) reachable() {
	s.pause, s.retryAt = s.times.firstTry, time.Time{}
	if !s.downed.IsZero() {
		s.log.Info("syslog receiver reachable", "outage_seconds", time.Since(s.downed).Seconds())
		s.downed = time.Time{}
	}
}

// tick looks after what is in flight and what is to be saved, when it is time.
func (s *sender) tick(now time.Time) {
	if len(s.flight) == 0 && len(s.look) == 0 {
		s.tickAt = time.Time{}
		return
	}
	if s.tickAt.IsZero() {
		s.tickAt, s.ticked = now.Add(s.times.save), 0
		if s.link != nil {
			s.ticked = s.link.sent
		}
		return
	}
	if now.Before(s.tickAt) {
		return
	}
	s.tickAt = time.Time{}
	if s.link != nil {
		err := s.link.check()
		if err == nil {
			err = s.confirm(s.link.sent == s.ticked)
		}
		if err != nil {
			s.fail(nil, err)
		}
	}
	for src := range s.look {
		if s.save(src) == nil {
			delete(s.look, src)
		}
		if src.files.err != nil {
			s.again(src)
		}
	}
}

// save writes how far the receiver has a source's log.
func (s *sender) save(src *source) error {
	err := src.safe.save(src.dir)
	switch {
	case errors.Is(err, fs.ErrNotExist): // the folder was removed
		return nil
	case err != nil:
		s.complain(src, "syslog cursor not saved", err)
	case src.files.err == nil:
		delete(s.failing, src)
	}
	return err
}

func (s *sender) complain(src *source, what string, err error) {
	if !s.failing[src] {
		s.failing[src] = true
		s.log.Warn(what, "proc", src.id, "err", err)
	}
}

// end gives every source its last turns: until where its log ends now.
func (s *sender) end() {
	s.ending = true
	s.mu.Lock()
	var all []*source
	for _, src := range s.sources {
		if src.begun {
			all = append(all, src)
		}
	}
	s.mu.Unlock()
	for _, src := range all {
		src.files.left = mostReads
		src.limit = s.readerOf(src).Written()
		s.again(src)
	}
}

// finish waits until the receiver has what was sent, and saves how far that is.
func (s *sender) finish() error {
	if s.link != nil {
		s.link.goodbye()
		_ = s.confirm(true)
		s.link.close()
	}
	var err error
	for src := range s.look {
		err = errors.Join(err, s.save(src))
	}
	s.mu.Lock()
	s.ended = true
	var all []*source
	for _, src := range s.sources {
		if src.begun { // the others see that the end has come
			all = append(all, src)
		}
	}
	s.sources, s.queue = nil, nil
	s.mu.Unlock()
	for _, src := range all {
		src.close()
	}
	return err
}
