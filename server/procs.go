package server

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/gilliam/hypervisor/server/proc"
)

// ProcList is the answer of GET /v1/procs.
type ProcList struct {
	Procs []proc.Proc `json:"procs"` // oldest first
}

func (s *Server) createProc(c echo.Context) error {
	q, err := queryOf(c, "dry_run")
	if err != nil {
		return err
	}
	dryRun, err := q.boolean("dry_run")
	if err != nil {
		return err
	}
	body, err := jsonBody(c, false)
	if err != nil {
		return err
	}
	var req proc.Request
	if err := decodeStrict(body, &req); err != nil {
		return err
	}
	if dryRun {
		plan, err := s.cfg.Procs.Plan(c.Request().Context(), req)
		if err != nil {
			return err
		}
		return s.answerPlan(c, plan)
	}
	p, err := s.cfg.Procs.Create(c.Request().Context(), req)
	if err != nil {
		return err
	}
	c.Response().Header().Set(echo.HeaderLocation, "/v1/procs/"+p.ID)
	return s.answer(c, http.StatusCreated, shown(p))
}

func (s *Server) listProcs(c echo.Context) error {
	q, err := queryOf(c, "app", "state")
	if err != nil {
		return err
	}
	app, byApp := q["app"]
	state, byState := q["state"]
	if byState && !proc.State(state).Valid() {
		return &proc.FieldError{Field: "state", Detail: "must be init, boot, running, restarting, done or fail"}
	}
	list := ProcList{Procs: []proc.Proc{}}
	for _, p := range s.cfg.Procs.List() {
		if (byApp && p.App != app) || (byState && p.State != proc.State(state)) {
			continue
		}
		list.Procs = append(list.Procs, shown(p))
	}
	return s.answer(c, http.StatusOK, list)
}

func (s *Server) getProc(c echo.Context) error {
	id, err := procID(c)
	if err != nil {
		return err
	}
	p, err := s.cfg.Procs.Get(id)
	if err != nil {
		return err
	}
	return s.answer(c, http.StatusOK, shown(p))
}

func (s *Server) removeProc(c echo.Context) error {
	id, grace, err := s.ending(c)
	if err != nil {
		return err
	}
	// A client that hangs up does not leave a proc half removed.
	if err := s.cfg.Procs.Remove(context.WithoutCancel(c.Request().Context()), id, grace); err != nil {
		return err
	}
	return c.NoContent(http.StatusNoContent)
}

func (s *Server) stopProc(c echo.Context) error {
	id, grace, err := s.ending(c)
	if err != nil {
		return err
	}
	p, err := s.cfg.Procs.Stop(context.WithoutCancel(c.Request().Context()), id, grace)
	if err != nil {
		return err
	}
	return s.answer(c, http.StatusOK, shown(p))
}

// ending reads what a request that ends a proc may say, and gives its answer
// the time that it needs. A grace that is not given is -1, the manager's own.
func (s *Server) ending(c echo.Context) (id string, grace time.Duration, err error) {
	if id, err = procID(c); err != nil {
		return "", 0, err
	}
	q, err := queryOf(c, "grace")
	if err != nil {
		return "", 0, err
	}
	if grace, err = q.duration("grace", -1); err != nil {
		return "", 0, err
	}
	return id, grace, s.allow(c, maxWait)
}

// waits are what can be waited for, by its name in the query.
var waits = map[string]func(proc.Proc) bool{
	"end":       proc.Proc.HasEnded,
	"listening": proc.Proc.ListensOrEnded,
}

// waitProc answers 200 when the proc has ended, or listens where that is waited
// for, and 202 with the proc as it is when it has not within the timeout.
func (s *Server) waitProc(c echo.Context) error {
	id, err := procID(c)
	if err != nil {
		return err
	}
	q, err := queryOf(c, "for", "timeout")
	if err != nil {
		return err
	}
	timeout, err := q.duration("timeout", 30*time.Second)
	if err != nil {
		return err
	}
	is := waits[cmp.Or(q["for"], "end")]
	if is == nil {
		return &proc.FieldError{Field: "for", Detail: "must be end or listening"}
	}
	p, err := s.cfg.Procs.Get(id)
	if err != nil {
		return err
	}
	if !is(p) && timeout > 0 {
		if p, err = s.wait(c, id, timeout, is); err != nil {
			return err
		}
	}
	if !is(p) {
		return s.answer(c, http.StatusAccepted, shown(p))
	}
	return s.answer(c, http.StatusOK, shown(p))
}

func (s *Server) wait(c echo.Context, id string, timeout time.Duration, is func(proc.Proc) bool) (proc.Proc, error) {
	if err := s.allow(c, timeout); err != nil {
		return proc.Proc{}, err
	}
	ctx, cancel := s.until(c.Request().Context(), timeout)
	defer cancel()
	p, err := s.cfg.Procs.Wait(ctx, id, is)
	switch {
	case err == nil:
		return p, nil
	case s.streams.Err() != nil:
		return proc.Proc{}, proc.ErrClosed
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return s.cfg.Procs.Get(id)
	}
	return proc.Proc{}, err
}

// allow gives the answer d from now, and the time to write it. Where there is
// no connection, as in a test, it does nothing.
func (s *Server) allow(c echo.Context, d time.Duration) error {
	err := http.NewResponseController(c.Response()).SetWriteDeadline(time.Now().Add(d + s.cfg.timeouts.write))
	if errors.Is(err, http.ErrNotSupported) {
		return nil
	}
	return err
}

// answer sends v as JSON. It is encoded first, so that an error can still be
// answered.
func (s *Server) answer(c echo.Context, status int, v any) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false) // URLs and commands stay readable; no browser takes this for HTML
	if err := enc.Encode(v); err != nil {
		return err
	}
	return c.Blob(status, echo.MIMEApplicationJSON, b.Bytes())
}

// shown is the proc without the secrets that its URLs may hold: passwords and
// the values of their queries.
func shown(p proc.Proc) proc.Proc {
	p.Image = withoutSecrets(p.Image)
	p.Callback = withoutSecrets(p.Callback)
	return p
}

func withoutSecrets(raw string) string {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || u.User == nil && u.RawQuery == "" {
		return raw
	}
	if u.RawQuery != "" {
		u.RawQuery = "xxxxx"
	}
	return u.Redacted()
}
