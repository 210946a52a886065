package server

import (
	"mime"
	"net/http"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/gilliam/hypervisor/isolate"
)

// Verification is the answer of GET /v1/procs/{id}/verify.
type Verification struct {
	Differences []isolate.Difference `json:"differences"` // none is what there should be
}

// procPlan tells how a running proc was launched.
func (s *Server) procPlan(c echo.Context) error {
	id, err := procID(c)
	if err != nil {
		return err
	}
	if _, err := queryOf(c); err != nil {
		return err
	}
	plan, err := s.cfg.Procs.PlanOf(id)
	if err != nil {
		return err
	}
	return s.answerPlan(c, plan)
}

// answerPlan sends a plan as text, one step a line, to who asks for text/plain,
// and else as JSON.
func (s *Server) answerPlan(c echo.Context, plan isolate.Plan) error {
	if accepts(c.Request(), echo.MIMETextPlain) {
		return c.String(http.StatusOK, plan.String())
	}
	return s.answer(c, http.StatusOK, plan)
}

// verifyProc tells where the kernel enforces something else than the plan.
func (s *Server) verifyProc(c echo.Context) error {
	id, err := procID(c)
	if err != nil {
		return err
	}
	if _, err := queryOf(c); err != nil {
		return err
	}
	diff, err := s.cfg.Procs.Verify(id)
	if err != nil {
		return err
	}
	if diff == nil {
		diff = []isolate.Difference{}
	}
	return s.answer(c, http.StatusOK, Verification{diff})
}

// accepts tells whether the client asks for the media type by name.
func accepts(r *http.Request, want string) bool {
	for part := range strings.SplitSeq(r.Header.Get(echo.HeaderAccept), ",") {
		if media, _, err := mime.ParseMediaType(part); err == nil && media == want {
			return true
		}
	}
	return false
}
