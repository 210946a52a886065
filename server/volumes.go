package server

import (
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/gilliam/hypervisor/server/proc"
)

// VolumeList is the answer of GET /v1/volumes.
type VolumeList struct {
	Volumes []proc.Volume `json:"volumes"` // by name
}

// VolumeRequest is the body of POST /v1/volumes.
type VolumeRequest struct {
	Name string `json:"name"`
	Size int64  `json:"size,omitempty"` // bytes; 0: none
}

func (s *Server) listVolumes(c echo.Context) error {
	if _, err := queryOf(c); err != nil {
		return err
	}
	list, err := s.cfg.Procs.Volumes()
	if err != nil {
		return err
	}
	if list == nil {
		list = []proc.Volume{}
	}
	return s.answer(c, http.StatusOK, VolumeList{list})
}

func (s *Server) createVolume(c echo.Context) error {
	if _, err := queryOf(c); err != nil {
		return err
	}
	body, err := jsonBody(c, false)
	if err != nil {
		return err
	}
	var req VolumeRequest
	if err := decodeStrict(body, &req); err != nil {
		return err
	}
	v, err := s.cfg.Procs.CreateVolume(req.Name, req.Size)
	if err != nil {
		return err
	}
	c.Response().Header().Set(echo.HeaderLocation, "/v1/volumes/"+v.Name)
	return s.answer(c, http.StatusCreated, v)
}

func (s *Server) getVolume(c echo.Context) error {
	if _, err := queryOf(c); err != nil {
		return err
	}
	v, err := s.cfg.Procs.Volume(c.Param("name"))
	if err != nil {
		return err
	}
	return s.answer(c, http.StatusOK, v)
}

// removeVolume answers when all that was in the volume is gone.
func (s *Server) removeVolume(c echo.Context) error {
	if _, err := queryOf(c); err != nil {
		return err
	}
	if err := s.allow(c, maxWait); err != nil {
		return err
	}
	if err := s.cfg.Procs.RemoveVolume(c.Param("name")); err != nil {
		return err
	}
	return c.NoContent(http.StatusNoContent)
}
