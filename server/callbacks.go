package server

import (
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/gilliam/hypervisor/server/proc"
)

// CallbackList is the answer of GET /v1/callbacks.
type CallbackList struct {
	Callbacks []proc.Callback `json:"callbacks"` // those of a proc in their order
}

// listCallbacks shows what was not delivered.
func (s *Server) listCallbacks(c echo.Context) error {
	q, err := queryOf(c, "state", "proc")
	if err != nil {
		return err
	}
	state, byState := q["state"]
	if byState && !proc.CallbackStatus(state).Valid() {
		return &proc.FieldError{Field: "state", Detail: "must be pending or dead"}
	}
	id, byProc := q["proc"]
	list := CallbackList{Callbacks: []proc.Callback{}}
	for _, cb := range s.cfg.Procs.Callbacks() {
		if (byState && cb.State != proc.CallbackStatus(state)) || (byProc && cb.Proc != id) {
			continue
		}
		list.Callbacks = append(list.Callbacks, cb)
	}
	return s.answer(c, http.StatusOK, list)
}

// retryCallback has one sent now.
func (s *Server) retryCallback(c echo.Context) error {
	cb, err := s.cfg.Procs.RetryCallback(c.Param("id"))
	if err != nil {
		return err
	}
	return s.answer(c, http.StatusOK, cb)
}

// removeCallback removes a dead letter.
func (s *Server) removeCallback(c echo.Context) error {
	if err := s.cfg.Procs.RemoveCallback(c.Param("id")); err != nil {
		return err
	}
	return c.NoContent(http.StatusNoContent)
}
