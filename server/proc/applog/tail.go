package applog

import (
	"math"
	"time"
)

// A filter chooses lines by when they were written, and by where their last byte
// is.
type filter struct {
	since time.Time
	from  uint64 // tells those in entries from here on,
	skip  int    // in the one here without the first skip lines
	at    uint64 // where the entry begins that is being read
}

func (f *filter) pass(l Line) bool {
	if f.at < f.from || l.Time.Before(f.since) {
		return false
	}
	if f.at == f.from && f.skip > 0 && l.Lost == 0 {
		f.skip--
		return false
	}
	return true
}

// tail reads the log once to find where the last lines begin.
//
// It remembers places, not lines, and only one for each entry: a log full of
// newlines has millions of lines, and whoever asks for all of them must not make
// the hypervisor hold them.
func (r *reading) tail(opt Options, ended <-chan struct{}) (filter, error) {
	none := filter{since: opt.Since}
	if opt.Tail < 0 {
		return none, nil
	}
	end := r.reader.Written()
	if opt.Tail == 0 {
		none.from = end
		return none, nil
	}
	c := counter{most: opt.Tail}
	r.filter = none
	r.restart(func(l Line) error {
		if l.Lost == 0 {
			c.count(r.filter.at)
		}
		return nil
	})
	whole := !opt.Follow || closed(ended)
	err := r.until(end)
	if whole {
		err = r.finish(err, true)
	}
	if c.more || c.total > c.most {
		none.from, none.skip = c.places[0].at, c.total-c.most
	}
	return none, err
}

// A counter finds where the last of many lines begin.
type counter struct {
	most   int
	total  int // lines in the places
	places []place
	more   bool // there are lines before the places
}

// A place is an entry in which lines end.
type place struct {
	at    uint64
	lines int
}

func (c *counter) count(at uint64) {
	if n := len(c.places); n == 0 || c.places[n-1].at != at {
		c.places = append(c.places, place{at: at})
	}
	c.places[len(c.places)-1].lines++
	c.total++
	for c.total-c.places[0].lines >= c.most {
		c.total -= c.places[0].lines
		c.places, c.more = c.places[1:], true
	}
}

// atEnd is the place of lines that end with the log.
const atEnd = math.MaxUint64
