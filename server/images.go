package server

import (
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/gilliam/hypervisor/server/proc"
)

// ImageList is the answer of GET /v1/images.
type ImageList struct {
	Images []proc.Image `json:"images"` // the last used first
	Disk   int64        `json:"disk"`   // bytes that they take together
}

func (s *Server) listImages(c echo.Context) error {
	if _, err := queryOf(c); err != nil {
		return err
	}
	list, err := s.cfg.Procs.Images()
	if err != nil {
		return err
	}
	answer := ImageList{Images: list}
	if list == nil {
		answer.Images = []proc.Image{}
	}
	for _, img := range list {
		answer.Disk += img.Disk
	}
	return s.answer(c, http.StatusOK, answer)
}

func (s *Server) getImage(c echo.Context) error {
	if _, err := queryOf(c); err != nil {
		return err
	}
	img, err := s.cfg.Procs.Image(c.Param("digest"))
	if err != nil {
		return err
	}
	return s.answer(c, http.StatusOK, img)
}

// removeImage answers when all of it is gone.
func (s *Server) removeImage(c echo.Context) error {
	if _, err := queryOf(c); err != nil {
		return err
	}
	if err := s.allow(c, maxWait); err != nil {
		return err
	}
	if err := s.cfg.Procs.RemoveImage(c.Param("digest")); err != nil {
		return err
	}
	return c.NoContent(http.StatusNoContent)
}

// collectImages removes what no proc uses, but for so many bytes of it.
func (s *Server) collectImages(c echo.Context) error {
	q, err := queryOf(c, "keep")
	if err != nil {
		return err
	}
	keep, err := q.bytes("keep")
	if err != nil {
		return err
	}
	if err := s.allow(c, maxWait); err != nil {
		return err
	}
	gone, err := s.cfg.Procs.CollectImages(keep)
	if err != nil {
		return err
	}
	return s.answer(c, http.StatusOK, gone)
}

// verifyImage reads all of an image.
func (s *Server) verifyImage(c echo.Context) error {
	if _, err := queryOf(c); err != nil {
		return err
	}
	if err := s.allow(c, verifyTime); err != nil {
		return err
	}
	ctx, cancel := s.until(c.Request().Context(), verifyTime)
	defer cancel()
	verdict, err := s.cfg.Procs.VerifyImage(ctx, c.Param("digest"))
	if err != nil {
		return err
	}
	return s.answer(c, http.StatusOK, verdict)
}
