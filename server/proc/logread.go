package proc

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"time"
)

// read calls f with the lines that opt asks for, until the end of the log, or,
// when it is followed, until nothing more will be written. It returns f's error,
// and nil when ctx ends.
func (l *logFile) read(ctx context.Context, opt LogOptions, f func(LogLine) error) error {
	tail := newTail(opt.Tail)
	part := 0
	for {
		file, opened, err := l.open(part)
		if errors.Is(err, fs.ErrNotExist) {
			return nil // the proc never got as far as writing
		}
		if err != nil {
			return err
		}
		part = opened
		last, err := l.readPart(ctx, file, part, opt.Follow, tail, f)
		file.Close()
		if err != nil || last {
			return err
		}
		part++
	}
}

// readPart reads one part to its end. It tells whether that was the log's end.
func (l *logFile) readPart(ctx context.Context, file io.Reader, part int, follow bool, tail *tail, f func(LogLine) error) (last bool, err error) {
	lines := lineReader{r: bufio.NewReaderSize(file, 64<<10)}
	for {
		// What is written after this is seen by the next round.
		writing, ended, changed := l.state()
		if err := lines.each(func(b []byte) error { return tail.add(b, f) }); err != nil {
			return false, err
		}
		if writing > part {
			return false, nil
		}
		if ended || !follow {
			return true, tail.flush(f)
		}
		if err := tail.flush(f); err != nil {
			return false, err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return true, nil
		}
	}
}

// A lineReader splits what has been written so far into lines. The rest, a line
// that is being written, waits for more.
type lineReader struct {
	r    *bufio.Reader
	rest []byte
}

func (l *lineReader) each(f func([]byte) error) error {
	for {
		chunk, err := l.r.ReadSlice('\n')
		l.rest = append(l.rest, chunk...)
		if err == nil {
			if err := f(l.rest); err != nil {
				return err
			}
			l.rest = l.rest[:0]
			continue
		}
		if err == bufio.ErrBufferFull {
			continue
		}
		if err == io.EOF {
			return nil
		}
		return err
	}
}

// A tail passes on the last n lines of what is there when it is flushed first,
// and every line after that. A negative n means all.
type tail struct {
	n    int
	keep [][]byte // the last n lines, oldest first, once it is full in a ring
	next int
	pass bool
}

func newTail(n int) *tail { return &tail{n: n, pass: n < 0} }

func (t *tail) add(line []byte, f func(LogLine) error) error {
	switch {
	case t.pass:
		return passOn(line, f)
	case t.n == 0:
	case len(t.keep) < t.n:
		t.keep = append(t.keep, bytes.Clone(line))
	default:
		t.keep[t.next] = append(t.keep[t.next][:0], line...)
		t.next = (t.next + 1) % t.n
	}
	return nil
}

func (t *tail) flush(f func(LogLine) error) error {
	if t.pass {
		return nil
	}
	t.pass = true
	for i := range t.keep {
		if err := passOn(t.keep[(t.next+i)%len(t.keep)], f); err != nil {
			return err
		}
	}
	t.keep = nil
	return nil
}

// passOn calls f with a line of the log. A line that is none, after a crash in
// the middle of a write, is left out.
func passOn(b []byte, f func(LogLine) error) error {
	line, ok := parseLine(b)
	if !ok {
		return nil
	}
	return f(line)
}

// appendLine formats one line of the log.
func appendLine(b []byte, at time.Time, stream string, partial bool, text []byte) []byte {
	b = at.UTC().AppendFormat(b, "2006-01-02T15:04:05.000000000Z07:00")
	b = append(b, ' ')
	b = append(b, stream...)
	if partial {
		b = append(b, " P "...)
	} else {
		b = append(b, " F "...)
	}
	b = append(b, text...)
	return append(b, '\n')
}

// parseLine reads what appendLine wrote.
func parseLine(b []byte) (LogLine, bool) {
	b, ok := bytes.CutSuffix(b, []byte("\n"))
	if !ok {
		return LogLine{}, false
	}
	stamp, rest, ok1 := bytes.Cut(b, []byte(" "))
	stream, rest, ok2 := bytes.Cut(rest, []byte(" "))
	tag, text, ok3 := bytes.Cut(rest, []byte(" "))
	at, err := time.Parse(time.RFC3339Nano, string(stamp))
	if !ok1 || !ok2 || !ok3 || err != nil || string(tag) != "F" && string(tag) != "P" {
		return LogLine{}, false
	}
	return LogLine{Time: at, Stream: string(stream), Partial: string(tag) == "P", Text: text}, true
}
