package server

import (
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/gilliam/hypervisor/isolate"
	"github.com/gilliam/hypervisor/server/proc"
)

// Findings is the answer of GET and POST /v1/doctor.
type Findings struct {
	Remarks []isolate.Remark `json:"remarks"` // what of the host makes sandboxes weaker than they could be
	Leaks   []proc.Leak      `json:"leaks"`   // what is ours and no proc's; none is what there should be
}

// doctor tells what is wrong with the node and changes nothing.
func (s *Server) doctor(c echo.Context) error { return s.audit(c, false) }

// repair removes what it finds.
func (s *Server) repair(c echo.Context) error { return s.audit(c, true) }

func (s *Server) audit(c echo.Context, repair bool) error {
	if _, err := queryOf(c); err != nil {
		return err
	}
	leaks, err := s.cfg.Procs.Audit(repair)
	if err != nil {
		return err
	}
	f := Findings{Remarks: s.cfg.Remarks, Leaks: leaks}
	if f.Remarks == nil {
		f.Remarks = []isolate.Remark{}
	}
	if f.Leaks == nil {
		f.Leaks = []proc.Leak{}
	}
	return s.answer(c, http.StatusOK, f)
}

// drain stops every proc and answers when they have ended, each within its grace.
func (s *Server) drain(c echo.Context) error {
	if _, err := queryOf(c); err != nil {
		return err
	}
	if err := s.allow(c, maxWait); err != nil {
		return err
	}
	ctx, cancel := s.until(c.Request().Context(), 0)
	defer cancel()
	err := s.cfg.Procs.Drain(ctx)
	switch {
	case err == nil:
		return c.NoContent(http.StatusNoContent)
	case s.streams.Err() != nil:
		return proc.ErrClosed
	}
	return err
}

// undrain lets procs be made again.
func (s *Server) undrain(c echo.Context) error {
	if _, err := queryOf(c); err != nil {
		return err
	}
	s.cfg.Procs.Undrain()
	return c.NoContent(http.StatusNoContent)
}
