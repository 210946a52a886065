package server

import (
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/gilliam/hypervisor/server/proc"
)

// health is the answer of /healthz and /readyz.
type health struct {
	Status string `json:"status"`
}

// healthz tells that the process is alive.
func (s *Server) healthz(c echo.Context) error { return s.answer(c, http.StatusOK, health{"ok"}) }

// readyz tells that procs can be made.
func (s *Server) readyz(c echo.Context) error {
	if s.closing.Load() {
		return proc.ErrClosed
	}
	return s.answer(c, http.StatusOK, health{"ready"})
}

func (s *Server) version(c echo.Context) error { return s.answer(c, http.StatusOK, s.cfg.Version) }
