package applog

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"time"

	"github.com/gilliam/hypervisor/isolate/output"
)

// Options choose what [Read] tells.
type Options struct {
	Follow bool
	Tail   int       // the last n lines; negative: all
	Since  time.Time // zero: from the beginning
}

// Read calls fn with the lines in dir, a proc's folder with log.0 and log.1,
// which may not exist yet, until the end, or, when it follows, until ended is
// closed and everything is read. It is nil when ctx ends, and fn's error
// otherwise.
//
// With Since and Tail it tells the last lines of those since. A line without a
// newline at the end is told when ended is closed; before that, a follower waits
// for the rest, and who does not follow gets it as a partial one.
func Read(ctx context.Context, dir string, opt Options, ended <-chan struct{}, fn func(Line) error) error {
	r := newReading(ctx, dir)
	defer r.files.close()
	if opt.Tail == 0 && (!opt.Follow || closed(ended)) {
		return nil
	}
	more := make(chan struct{}, 1)
	if opt.Follow && !closed(ended) {
		// First of all, so that nothing is written unseen.
		w, err := watches.add(dir, func(bool) {
			select {
			case more <- struct{}{}:
			default:
			}
		})
		if errors.Is(err, fs.ErrNotExist) {
			return nil // removed
		}
		if err != nil {
			return fmt.Errorf("follow the log in %s: %w", dir, err)
		}
		defer w.remove()
	}
	start, err := r.tail(opt, ended)
	if err != nil {
		return err
	}
	r.filter = start
	r.restart(fn)
	if !opt.Follow {
		over := closed(ended)
		return r.finish(r.until(r.reader.Written()), !over)
	}
	for {
		over := closed(ended) // before reading: nothing is written after it
		if err := r.until(math.MaxUint64); err != nil || over {
			return r.finish(err, false)
		}
		select {
		case <-more:
		case <-ended:
		case <-ctx.Done():
			return nil
		}
	}
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// A reading is one walk through a log.
type reading struct {
	ctx    context.Context
	files  *segments
	reader *output.Reader
	lines  assembler
	buf    []byte
	filter filter
	lost   uint64 // overwritten, told before the next entry
	begun  bool   // an entry was read
}

func newReading(ctx context.Context, dir string) *reading {
	r := &reading{ctx: ctx, files: openSegments(ctx, dir), buf: make([]byte, output.MaxRecord)}
	r.files.left = mostReads
	r.reader = output.NewReader(r.files.readers(), output.Cursor{})
	return r
}

// restart begins at the oldest that is there.
func (r *reading) restart(fn func(Line) error) {
	r.reader = output.NewReader(r.files.readers(), output.Cursor{})
	r.lines = assembler{emit: func(l Line, _ int) error {
		if !r.filter.pass(l) {
			return nil
		}
		return fn(l)
	}}
	r.lost, r.begun, r.files.left = 0, false, mostReads
}

// until tells the lines of the entries that begin before the log's byte number
// end, as far as there are any.
func (r *reading) until(end uint64) error {
	for r.reader.Cursor().Position < end || !r.begun {
		if r.ctx.Err() != nil {
			return nil
		}
		r.files.left = mostReads
		e, err := r.reader.Next(r.buf)
		if err == io.EOF {
			return r.files.err
		}
		if err != nil {
			return err
		}
		at := e.At.Position
		if e.Kind == 0 || !r.begun {
			r.begun = true
			if r.filter.at = at; e.Kind == 0 {
				r.lost += e.Lost
				continue
			}
			r.filter.at, r.lost = 0, r.lost+at // what is no longer there
		}
		if err := r.tellLost(e.Time); err != nil {
			return err
		}
		r.filter.at = at
		if err := r.lines.add(e, 0); err != nil {
			return err
		}
	}
	return nil
}

// tellLost tells what was overwritten before the entry of a time.
func (r *reading) tellLost(time int64) error {
	lost := r.lost
	if r.lost = 0; lost == 0 {
		return nil
	}
	return r.lines.add(output.Entry{Time: time, Lost: lost}, 0)
}

// finish ends the last lines, unless err has.
func (r *reading) finish(err error, partial bool) error {
	if err != nil || r.ctx.Err() != nil {
		return err
	}
	r.filter.at = atEnd
	return r.lines.end(partial)
}
