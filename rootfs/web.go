package rootfs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"syscall"
	"time"
)

// quick is how long a server may take to say that an image has not changed.
const quick = 5 * time.Second

// retry says how often, and after what pauses, a server is asked that cannot be
// reached or says that it has a problem.
type retry struct {
	tries int
	first time.Duration
}

const (
	maxPause      = 8 * time.Second
	maxRetryAfter = 30 * time.Second
)

// pause is how long to wait after so many failures, the first is 1: twice as long
// each time, half of it by chance, so that the many who were cut off together do
// not come back together.
func (r retry) pause(failures int, chance float64) time.Duration {
	d := min(r.first<<min(failures-1, 16), maxPause)
	return d/2 + time.Duration(chance*float64(d))
}

// An unreachableError is a server that may well answer another time.
type unreachableError struct{ err error }

func (e *unreachableError) Error() string { return e.err.Error() }
func (e *unreachableError) Unwrap() error { return e.err }

// A urlSource is an image on a web server.
type urlSource struct {
	client *http.Client
	url    string
	stall  time.Duration
	retry  retry
	log    *slog.Logger
}

func (s *urlSource) String() string { return Redact(s.url) }
func (s *urlSource) key() string    { return hashOf(s.url) }

// open asks for the whole image. Where there is something to fall back to, the
// server has only one try, and a short one.
func (s *urlSource) open(ctx context.Context, had mark) (body, error) {
	within, tries := time.Duration(0), s.retry
	if had != (mark{}) {
		within, tries.tries = quick, 1
	}
	var c *conn
	err := tries.do(ctx, func() (err error) {
		c, err = s.ask(ctx, within, func(h http.Header) {
			if had.ETag != "" {
				h.Set("If-None-Match", had.ETag)
			}
			if had.Modified != "" {
				h.Set("If-Modified-Since", had.Modified)
			}
		})
		return err
	})
	if err != nil {
		return body{}, err
	}
	switch {
	case c.StatusCode == http.StatusNotModified && had != (mark{}):
		c.close()
		return body{}, errUnchanged
	case c.StatusCode != http.StatusOK:
		c.close()
		return body{}, statusError(c.StatusCode)
	}
	d := &download{s: s, ctx: ctx, conn: c, size: c.ContentLength, mark: markOf(c.Header), ifRange: ifRange(c.Header)}
	return body{ReadCloser: d, size: d.size, mark: d.mark}, nil
}

// markOf is the mark that a server gives.
func markOf(h http.Header) mark {
	m := mark{ETag: h.Get("ETag"), Modified: h.Get("Last-Modified")}
	if len(m.ETag)+len(m.Modified) > 1024 {
		return mark{}
	}
	return m
}

// do tries fn until it succeeds, fails for good, or has failed too often.
func (r retry) do(ctx context.Context, fn func() error) error {
	for n := 1; ; n++ {
		err := fn()
		var unreachable *unreachableError
		if err == nil || !errors.As(err, &unreachable) || errors.Is(err, errBroken) {
			return err
		}
		wait := r.pause(n, rand.Float64())
		var status *statusProblem
		if errors.As(err, &status) && status.after > 0 {
			wait = max(wait, status.after)
		}
		if n >= r.tries || wait > maxRetryAfter {
			return err
		}
		if err := sleep(ctx, wait); err != nil {
			return err
		}
	}
}

// sleep waits, or returns why ctx has ended.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// A conn is one answer of a server, with what ends it.
type conn struct {
	*http.Response
	ctx    context.Context
	cancel context.CancelCauseFunc
}

func (c *conn) close() error {
	err := c.Body.Close()
	c.cancel(nil)
	return err
}

// ask sends one request. The answer must have begun within a time; zero means that
// the client's own bound will do. An answer by which the server asks to be asked
// again is an error.
func (s *urlSource) ask(ctx context.Context, within time.Duration, set func(http.Header)) (*conn, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url, nil)
	if err != nil {
		cancel(nil)
		return nil, invalid("must be a URL like https://example.com/app.tar.gz")
	}
	req.Header.Set("User-Agent", "gilliam-hypervisor")
	set(req.Header)
	if within > 0 {
		slow := time.AfterFunc(within, func() { cancel(fmt.Errorf("no answer within %v", within)) })
		defer slow.Stop()
	}
	resp, err := s.client.Do(req)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = &unreachableError{cause}
		}
		cancel(nil)
		return nil, reached(err)
	}
	c := &conn{Response: resp, ctx: ctx, cancel: cancel}
	switch code := resp.StatusCode; {
	case code == http.StatusRequestTimeout, code == http.StatusTooEarly, code == http.StatusTooManyRequests, code >= 500:
		err := &statusProblem{error: statusError(code), after: retryAfter(resp.Header, time.Now())}
		c.close()
		return nil, &unreachableError{err}
	}
	return c, nil
}

// reached tells errors that may pass from those that will not.
func reached(err error) error {
	var timeout net.Error
	var dns *net.DNSError
	passing := errors.As(err, &timeout) && timeout.Timeout() || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.As(err, &dns) && !dns.IsNotFound
	for _, e := range []error{syscall.ECONNREFUSED, syscall.ECONNRESET, syscall.EPIPE, syscall.EHOSTUNREACH, syscall.ENETUNREACH, syscall.ECONNABORTED} {
		passing = passing || errors.Is(err, e)
	}
	var already *unreachableError
	if passing && !errors.As(err, &already) {
		return &unreachableError{plain(err)}
	}
	return plain(err)
}

// A statusProblem is an answer after which the server may be asked again.
type statusProblem struct {
	error
	after time.Duration
}

// retryAfter is how long a server asks to be left alone: RFC 9110, section 10.2.3.
func retryAfter(h http.Header, now time.Time) time.Duration {
	v := h.Get("Retry-After")
	if n, err := strconv.ParseUint(v, 10, 31); err == nil {
		return time.Duration(n) * time.Second
	}
	if t, err := http.ParseTime(v); err == nil {
		return max(0, t.Sub(now))
	}
	return 0
}

// statusError says what an answer other than 200 means, in our words: the
// server's own could be anything.
func statusError(code int) error {
	hint := "the server does not give out the image"
	switch {
	case code == http.StatusNotFound || code == http.StatusGone:
		hint = "check that the URL is right"
	case code == http.StatusUnauthorized || code == http.StatusForbidden:
		hint = "the server wants a login: have the operator add one for its host, or use a signed URL"
	case code == http.StatusTooManyRequests || code >= 500:
		hint = "the server has a problem; try again later"
	}
	text := http.StatusText(code)
	if text == "" {
		text = "unknown status"
	}
	err := fmt.Errorf("%d %s: %s", code, text, hint)
	if code == http.StatusNotFound || code == http.StatusGone {
		return &kindError{ErrNotExist, err.Error()}
	}
	return err
}
