package server

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"
)

// MaxBody is the most bytes that a request's body may have.
const MaxBody = 1 << 20

// bodyDeadline bounds the time in which a body must arrive, also the body of
// a request that is refused without it being read. (http.Server.ReadTimeout
// would do it too, but it also ends answers that last: the deadline stays on
// the connection while the handler runs.)
func (s *Server) bodyDeadline(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		if hasBody(c.Request()) {
			if err := setReadDeadline(c, time.Now().Add(s.cfg.timeouts.body)); err != nil {
				return err
			}
		}
		return next(c)
	}
}

// readBody reads the whole body before the handler runs, so that no handler
// waits for a client.
func (s *Server) readBody(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		r := c.Request()
		if !hasBody(r) {
			return next(c)
		}
		if r.ContentLength > MaxBody {
			return ErrTooLarge
		}
		if r.Header.Get(echo.HeaderContentEncoding) != "" {
			return ErrMediaType
		}
		body, err := io.ReadAll(http.MaxBytesReader(c.Response().Writer, r.Body, MaxBody))
		var tooLarge *http.MaxBytesError
		switch {
		case errors.As(err, &tooLarge):
			return ErrTooLarge
		case err != nil: // the deadline stays, so that the rest is not waited for
			return fmt.Errorf("%w: %v", ErrBody, err)
		}
		if err := setReadDeadline(c, time.Time{}); err != nil {
			return err
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		return next(c)
	}
}

func hasBody(r *http.Request) bool { return r.Body != nil && r.Body != http.NoBody }

// setReadDeadline does nothing where there is no connection, as in a test.
func setReadDeadline(c echo.Context, t time.Time) error {
	err := http.NewResponseController(c.Response()).SetReadDeadline(t)
	if err != nil && !errors.Is(err, http.ErrNotSupported) {
		return fmt.Errorf("%w: %v", ErrBody, err)
	}
	return nil
}

// jsonBody is the body of a request that must be JSON. Without a Content-Type
// it is taken for JSON only where lax allows it.
func jsonBody(c echo.Context, lax bool) ([]byte, error) {
	r := c.Request()
	header := r.Header.Get(echo.HeaderContentType)
	media, _, err := mime.ParseMediaType(header)
	if !(header == "" && lax) && (err != nil || media != echo.MIMEApplicationJSON) {
		return nil, ErrMediaType
	}
	if r.Body == nil {
		return nil, nil
	}
	return io.ReadAll(r.Body)
}
