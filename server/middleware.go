package server

import (
	"net/http"
	"time"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"

	"github.com/gilliam/hypervisor/isolate/safely"
)

const requestIDKey = "request_id"

// identify gives every request an id of our own making; a client's is not
// trusted, so that no two requests in the log share one.
func (s *Server) identify(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		id := uuid.NewString()
		c.Set(requestIDKey, id)
		c.Response().Header().Set(echo.HeaderXRequestID, id)
		return next(c)
	}
}

func requestID(c echo.Context) string {
	id, _ := c.Get(requestIDKey).(string)
	return id
}

// route is the pattern that the request matched. It never holds anything that
// a client sent.
func (s *Server) route(c echo.Context) string {
	if s.known[c.Path()] {
		return c.Path()
	}
	return "other"
}

// methods are those that may stand in a metric's label.
var methods = map[string]bool{
	http.MethodGet: true, http.MethodHead: true, http.MethodPost: true, http.MethodPut: true,
	http.MethodPatch: true, http.MethodDelete: true, http.MethodOptions: true,
}

// observe answers errors, so that the status is known, and tells the log and
// the metrics. The query is left out: it may hold a client's secrets.
func (s *Server) observe(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		start := time.Now()
		defer func() { // also when the answer was aborted by a panic
			took := time.Since(start)
			method := c.Request().Method
			if !methods[method] {
				method = "other"
			}
			s.cfg.Observe(method, s.route(c), c.Response().Status, took)
			s.cfg.Log.Debug("request", "request_id", requestID(c), "method", c.Request().Method, "path", c.Request().URL.Path,
				"status", c.Response().Status, "bytes", c.Response().Size, "took_seconds", took.Seconds())
		}()
		if err := next(c); err != nil {
			s.handleError(err, c)
		}
		return nil
	}
}

// recover turns a panic into an internal error. After the answer has begun it
// can only be cut off, so that the client does not take it for a whole one.
func (s *Server) recover(next echo.HandlerFunc) echo.HandlerFunc {
	guard := safely.Guard{Log: s.cfg.Log, Count: s.cfg.CountPanic}
	return func(c echo.Context) (err error) {
		p := safely.Catch(func() { err = next(c) })
		switch {
		case p == nil:
			return err
		case p.Value == http.ErrAbortHandler:
			panic(p.Value)
		}
		guard.Report("http", p, "request_id", requestID(c), "route", s.route(c))
		if c.Response().Committed {
			panic(http.ErrAbortHandler)
		}
		return p
	}
}

// headers sets what every answer carries. There are no CORS headers: no web
// page has business here.
func (s *Server) headers(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		h := c.Response().Header()
		h.Set(echo.HeaderXContentTypeOptions, "nosniff")
		h.Set(echo.HeaderCacheControl, "no-store")
		return next(c)
	}
}
