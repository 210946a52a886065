package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"github.com/gilliam/hypervisor/server"
	"github.com/gilliam/hypervisor/server/proc/applog"
)

// maxLine bounds one line of the log answer; the daemon splits them far below.
const maxLine = 8 << 20

// A logQuery chooses what logs tells.
type logQuery struct {
	follow bool
	tail   int    // negative: all
	since  string // as the API takes it; empty: from the beginning
}

func (q logQuery) encode() string {
	v := url.Values{}
	if q.follow {
		v.Set("follow", "true")
	}
	if q.tail >= 0 {
		v.Set("tail", strconv.Itoa(q.tail))
	}
	if q.since != "" {
		v.Set("since", q.since)
	}
	if len(v) == 0 {
		return ""
	}
	return "?" + v.Encode()
}

// A logLine is one line that an app wrote.
type logLine server.LogLine

// bytes are what the app wrote, without the newline, or how much is missing.
func (l logLine) bytes() []byte {
	if l.Lost > 0 {
		return []byte(applog.Mark(l.Lost))
	}
	if l.Bytes != nil {
		return l.Bytes
	}
	return []byte(l.Text)
}

// to is which of two outputs a line belongs to: that of its stream, and stderr
// where nobody knows which stream a part is missing of.
func (l logLine) to(stdout, stderr io.Writer) io.Writer {
	if l.Stream == "stdout" {
		return stdout
	}
	return stderr
}

// ending is what follows it: nothing when the line goes on.
func (l logLine) ending() string {
	if l.Partial {
		return ""
	}
	return "\n"
}

// logs calls fn for each line, until the end of the logs or, when following,
// of the proc.
func (c *client) logs(ctx context.Context, id string, q logQuery, fn func(logLine) error) error {
	res, err := c.do(ctx, http.MethodGet, "/v1/procs/"+url.PathEscape(id)+"/logs"+q.encode(), nil, server.MIMELines)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	lines := bufio.NewScanner(res.Body)
	lines.Buffer(nil, maxLine)
	for lines.Scan() {
		var l logLine
		if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
			return fmt.Errorf("answer of logs: %w", err)
		}
		if err := fn(l); err != nil {
			return err
		}
	}
	if err := lines.Err(); errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("the log stream broke off: the daemon has stopped")
	} else if err != nil {
		return err
	}
	return nil
}
