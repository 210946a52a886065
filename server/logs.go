package server

import (
	"encoding/json"
	"net/http"
	"time"
	"unicode/utf8"

	"github.com/labstack/echo/v4"

	"github.com/gilliam/hypervisor/server/proc"
	"github.com/gilliam/hypervisor/server/proc/applog"
)

// MIMELines is the media type of logs as one JSON object a line; see [LogLine].
const MIMELines = "application/x-ndjson"

// A LogLine is one line of the logs in the form of [MIMELines].
type LogLine struct {
	Time    time.Time `json:"time"`
	Stream  string    `json:"stream"`            // stdout or stderr; empty where Lost is of both
	Text    string    `json:"text"`              // without the newline
	Bytes   []byte    `json:"bytes,omitempty"`   // in place of Text, where that would not be UTF-8
	Partial bool      `json:"partial,omitempty"` // the line goes on in the next one of its stream
	Lost    uint64    `json:"lost,omitempty"`    // no line: so many bytes of the stream were not kept here
}

// procLogs streams a proc's logs. It answers 404 only before the stream; a
// stream that breaks, or that the server's end cuts off, is aborted, so that
// the client does not take it for whole.
func (s *Server) procLogs(c echo.Context) error {
	id, err := procID(c)
	if err != nil {
		return err
	}
	opt, times, err := logOptions(c)
	if err != nil {
		return err
	}
	if _, err := s.cfg.Procs.Get(id); err != nil {
		return err
	}
	format, media := textFormat(times), "text/plain; charset=utf-8"
	if accepts(c.Request(), MIMELines) {
		format, media = linesFormat, MIMELines
	}
	c.Response().Header().Set(echo.HeaderContentType, media)
	c.Response().WriteHeader(http.StatusOK)

	ctx, cancel := s.until(c.Request().Context(), 0)
	defer cancel()
	out := newBatcher(c.Response(), s.cfg.timeouts)
	out.flush() // the header: a follower wants to know that it is connected
	err = s.cfg.Procs.Logs(ctx, id, opt, func(l proc.LogLine) error { return out.add(l, format) })
	if end := out.close(); err == nil {
		err = end
	}
	if err != nil || ctx.Err() != nil {
		s.cfg.Log.Debug("log stream cut off", "request_id", requestID(c), "proc", id, "err", err)
		panic(http.ErrAbortHandler)
	}
	return nil
}

func logOptions(c echo.Context) (opt proc.LogOptions, times bool, err error) {
	q, err := queryOf(c, "follow", "tail", "since", "timestamps")
	if err != nil {
		return opt, false, err
	}
	if opt.Follow, err = q.boolean("follow"); err != nil {
		return opt, false, err
	}
	if opt.Tail, err = q.count("tail"); err != nil {
		return opt, false, err
	}
	if opt.Since, err = q.since("since"); err != nil {
		return opt, false, err
	}
	times, err = q.boolean("timestamps")
	return opt, times, err
}

// A lineFormat appends a line to b. Open is the stream whose line before was
// partial, or empty.
type lineFormat func(b []byte, l proc.LogLine, open string) ([]byte, error)

// textFormat writes lines as the app wrote them, and what was not kept as
// [applog.Mark] has it. Where another stream cuts in on a line that is not whole,
// a newline keeps the two apart.
func textFormat(times bool) lineFormat {
	return func(b []byte, l proc.LogLine, open string) ([]byte, error) {
		goesOn := open != "" && open == l.Stream
		if open != "" && !goesOn {
			b = append(b, '\n')
		}
		if times && !goesOn {
			b = l.Time.UTC().AppendFormat(b, "2006-01-02T15:04:05.000000Z ")
		}
		if l.Lost > 0 {
			b = append(b, applog.Mark(l.Lost)...)
		}
		b = append(b, l.Text...)
		if !l.Partial {
			b = append(b, '\n')
		}
		return b, nil
	}
}

// linesFormat writes each line as a [LogLine].
func linesFormat(b []byte, l proc.LogLine, _ string) ([]byte, error) {
	line := LogLine{Time: l.Time.UTC(), Stream: l.Stream, Partial: l.Partial, Lost: l.Lost}
	if utf8.Valid(l.Text) {
		line.Text = string(l.Text)
	} else {
		line.Bytes = l.Text
	}
	j, err := json.Marshal(line)
	return append(append(b, j...), '\n'), err
}
