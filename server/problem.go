package server

import (
	"encoding/json"
	"errors"
	"net/http"
	"slices"

	"github.com/labstack/echo/v4"

	"github.com/gilliam/hypervisor/server/proc"
)

// A Problem is the answer to a request that went wrong, an RFC 9457 problem
// document (https://www.rfc-editor.org/rfc/rfc9457).
type Problem struct {
	Type     string `json:"type"` // urn:gilliam:problem: and the code of the table
	Title    string `json:"title"`
	Status   int    `json:"status"`
	Detail   string `json:"detail"`
	Instance string `json:"instance"`        // urn:uuid: and the id of the request, as in the log
	Field    string `json:"field,omitempty"` // what was wrong, by its JSON path or parameter
}

// ProblemType is what every problem's type begins with.
const ProblemType = "urn:gilliam:problem:"

const problemJSON = "application/problem+json"

// problemOf says what a client is told of err.
func problemOf(err error, requestID string) Problem {
	r := rowOf(err)
	p := Problem{
		Type:     ProblemType + r.code,
		Title:    http.StatusText(r.status),
		Status:   r.status,
		Detail:   detailOf(err, r),
		Instance: "urn:uuid:" + requestID,
	}
	if p.Title == "" {
		p.Title = r.err.Error()
	}
	var field *proc.FieldError
	if errors.As(err, &field) {
		p.Field = field.Field
	}
	return p
}

// detailOf says it in words. Of a server's error it is only the sentinel's own
// text: what it wraps is for the log.
func detailOf(err error, r row) string {
	switch {
	case errors.Is(r.err, echo.ErrNotFound):
		return "there is nothing at this path"
	case errors.Is(r.err, echo.ErrMethodNotAllowed):
		return "this path does not take this method: see the Allow header"
	case r.status >= http.StatusInternalServerError:
		return r.err.Error()
	}
	return err.Error()
}

// refusals are what the daemon knows of itself, and has told of already.
var refusals = []error{proc.ErrClosed, proc.ErrDraining, proc.ErrDiskFull}

// handleError is echo's HTTPErrorHandler: it answers with the problem, unless
// an answer has begun.
func (s *Server) handleError(err error, c echo.Context) {
	res := c.Response()
	p := problemOf(err, requestID(c))
	if p.Status >= http.StatusInternalServerError && !slices.Contains(refusals, rowOf(err).err) {
		s.cfg.Log.Error("request failed", "request_id", requestID(c), "method", c.Request().Method, "route", s.route(c), "err", err)
	}
	if res.Committed {
		return
	}
	body, err := json.Marshal(p)
	if err != nil {
		body = []byte(`{"status":500}`)
	}
	h := res.Header()
	h.Set(echo.HeaderContentType, problemJSON)
	h.Set(echo.HeaderCacheControl, "no-store")
	if p.Status == http.StatusUnauthorized {
		h.Set(echo.HeaderWWWAuthenticate, `Bearer realm="gilliam"`)
	}
	res.WriteHeader(p.Status)
	if c.Request().Method != http.MethodHead {
		res.Write(append(body, '\n')) // the client is gone when this fails
	}
}
