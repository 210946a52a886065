package rootfs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"
)

// errBroken is a transfer that broke and cannot go on where it was.
var errBroken = errors.New("broken off")

// A brokenError is an errBroken, and says by what.
type brokenError struct{ err error }

func (e *brokenError) Error() string        { return e.err.Error() }
func (e *brokenError) Unwrap() error        { return e.err }
func (e *brokenError) Is(target error) bool { return target == errBroken }

// A download is an image while it comes from a server, through interruptions: it
// goes on where it was when the server promises that the rest is of the same
// bytes. It notices when nothing comes. Its clock runs only while it reads, so
// that a slow disk is not taken for a slow server.
type download struct {
	s       *urlSource
	ctx     context.Context
	conn    *conn // nil between two
	size    int64 // of the whole; -1 when no one says
	mark    mark
	ifRange string // asks for the rest of the same bytes; empty: that cannot be asked
	at      int64  // how much has come
	failed  int    // times it broke since something came
}

// ifRange is the validator by which a server can be asked for the rest of what it
// has begun to send; empty when it gives none that is good enough: RFC 9110,
// sections 8.8.2.2 and 13.1.5.
func ifRange(h http.Header) string {
	m := markOf(h)
	if h.Get("Accept-Ranges") == "none" {
		return ""
	}
	if m.ETag != "" {
		return m.strong()
	}
	modified, err := http.ParseTime(m.Modified)
	if err != nil {
		return ""
	}
	if date, err := http.ParseTime(h.Get("Date")); err != nil || date.Sub(modified) < time.Second {
		return "" // it may have changed again within that second
	}
	return m.Modified
}

func (d *download) Read(p []byte) (int, error) {
	for {
		if d.conn == nil {
			if err := d.resume(); err != nil {
				return 0, err
			}
		}
		n, err := d.read(p)
		d.at += int64(n)
		if n > 0 {
			d.failed = 0
		}
		if err == nil || err == io.EOF {
			return n, err
		}
		if err := d.broke(err); err != nil {
			return n, err
		}
		if n > 0 {
			return n, nil
		}
	}
}

// read reads from the connection that there is, as long as something comes.
func (d *download) read(p []byte) (int, error) {
	c := d.conn
	stalled := time.AfterFunc(d.s.stall, func() {
		c.cancel(fmt.Errorf("no data for %v: the server has stalled after %s", d.s.stall, size(d.at)))
	})
	n, err := c.Body.Read(p)
	stalled.Stop()
	if cause := context.Cause(c.ctx); err != nil && err != io.EOF && cause != nil {
		err = cause
	}
	return n, err
}

// broke decides whether a download that broke may go on. It returns nil if so.
func (d *download) broke(err error) error {
	d.conn.close()
	d.conn = nil
	d.failed++
	if cause := context.Cause(d.ctx); cause != nil {
		return cause
	}
	err = &unreachableError{plain(err)}
	switch {
	case d.failed >= d.s.retry.tries:
		return err
	case d.ifRange == "":
		return &brokenError{err}
	}
	d.s.log.Info("transfer of an image goes on", "image", d.s.String(), "at", d.at, "err", err)
	return nil
}

// resume asks for the rest.
func (d *download) resume() error {
	if err := sleep(d.ctx, d.s.retry.pause(d.failed, rand.Float64())); err != nil {
		return err
	}
	return d.s.retry.do(d.ctx, func() error {
		c, err := d.s.ask(d.ctx, 0, func(h http.Header) {
			h.Set("Range", fmt.Sprintf("bytes=%d-", d.at))
			h.Set("If-Range", d.ifRange)
		})
		if err != nil {
			return err
		}
		if err := d.fits(c.Response); err != nil {
			c.close()
			return &brokenError{&unreachableError{err}}
		}
		d.conn = c
		return nil
	})
}

// fits tells whether an answer is the rest of what has come.
func (d *download) fits(r *http.Response) error {
	switch {
	case r.StatusCode == http.StatusOK:
		return errors.New("what is at the URL has changed during the transfer, or the server sends no parts")
	case r.StatusCode != http.StatusPartialContent:
		return statusError(r.StatusCode)
	}
	from, _, _ := strings.Cut(r.Header.Get("Content-Range"), "-")
	now := markOf(r.Header)
	if from != fmt.Sprintf("bytes %d", d.at) || now.ETag != "" && now.ETag != d.mark.ETag ||
		d.size >= 0 && r.ContentLength >= 0 && d.at+r.ContentLength != d.size {
		return errors.New("the server has sent another part than was asked for")
	}
	return nil
}

func (d *download) Close() error {
	if d.conn == nil {
		return nil
	}
	return d.conn.close()
}
