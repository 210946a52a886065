package proc

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"os"
	"sync"
	"time"
)

// maxLine is the longest line kept in one piece; a longer one is split into
// partial lines.
const maxLine = 16 << 10

// A capture takes what one app writes to two pipes into its log and to syslog.
type capture struct {
	log     *logFile
	sink    *syslogSink // nil: none
	tag     string
	slog    *slog.Logger
	dropped func(n int) // is told of lines that could not be kept
	readers sync.WaitGroup
}

// stream makes the pipe for one output stream and starts to capture it. The
// caller closes the write end it gets. The capture ends when every process that
// holds the pipe has.
func (c *capture) stream(name string) (*os.File, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	// Owned by the capture: wait waits for it.
	c.readers.Go(func() {
		defer r.Close()
		c.copy(name, r)
	})
	return w, nil
}

// wait returns when both streams have ended and everything is in the log.
func (c *capture) wait() { c.readers.Wait() }

// copy reads r to its end, a chunk and a write to the log at a time.
func (c *capture) copy(stream string, r io.Reader) {
	s := splitter{emit: func(out *chunk, text []byte, partial bool) {
		out.lines++
		out.b = appendLine(out.b, out.at, stream, partial, text)
		if c.sink != nil {
			c.sink.send(out.at, stream, c.tag, text)
		}
	}}
	buf := make([]byte, 32<<10)
	var out chunk
	for {
		n, err := r.Read(buf)
		out.at, out.b, out.lines = time.Now(), out.b[:0], 0
		s.write(&out, buf[:n])
		if err != nil {
			s.end(&out)
		}
		if len(out.b) > 0 {
			if werr := c.log.write(out.b); werr != nil {
				c.dropped(out.lines)
				c.slog.Warn("log lines lost", "stream", stream, "lines", out.lines, "err", werr)
			}
		}
		if err != nil {
			if !errors.Is(err, io.EOF) {
				c.slog.Warn("log capture ended", "stream", stream, "err", err)
			}
			return
		}
	}
}

// A chunk is formatted lines on their way to the log.
type chunk struct {
	at    time.Time
	b     []byte
	lines int
}

// A splitter cuts a stream of bytes into lines of at most maxLine bytes.
type splitter struct {
	emit func(out *chunk, text []byte, partial bool)
	rest []byte
}

func (s *splitter) write(out *chunk, b []byte) {
	for len(b) > 0 {
		i := bytes.IndexByte(b, '\n')
		room := maxLine - len(s.rest)
		switch {
		case i >= 0 && i <= room:
			s.rest = append(s.rest, b[:i]...)
			s.emit(out, s.rest, false)
			s.rest, b = s.rest[:0], b[i+1:]
		case i < 0 && len(b) <= room:
			s.rest = append(s.rest, b...)
			b = nil
		default:
			s.rest = append(s.rest, b[:room]...)
			s.emit(out, s.rest, true)
			s.rest, b = s.rest[:0], b[room:]
		}
	}
}

// end emits a last line that had no newline.
func (s *splitter) end(out *chunk) {
	if len(s.rest) > 0 {
		s.emit(out, s.rest, false)
		s.rest = nil
	}
}
