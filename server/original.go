package server

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/gilliam/hypervisor/server/proc"
)

// The /proc resource of the original hypervisor, byte for byte as its clients
// know it: the fields below and no others, in this order; fields that it does
// not know are ignored; URLs are shown as they were given.

// originalRequest is the body of POST /proc.
type originalRequest struct {
	App      string            `json:"app"`
	Name     string            `json:"name"`
	Image    string            `json:"image"`
	Command  proc.Command      `json:"command"`
	Config   map[string]string `json:"config"`
	Callback string            `json:"callback"`
}

// originalProc is a proc as the original showed it.
type originalProc struct {
	ID      string            `json:"id"`
	App     string            `json:"app"`
	Name    string            `json:"name"`
	Image   string            `json:"image"`
	Config  map[string]string `json:"config"`
	Port    int               `json:"port"`
	State   proc.State        `json:"state"`
	Command any               `json:"command"` // a string, or a list when it was given as one
	Links   originalLinks     `json:"links"`
}

type originalLinks struct {
	Self string `json:"self"`
}

func originalOf(p proc.Proc) originalProc {
	config := p.Config
	if config == nil {
		config = map[string]string{}
	}
	return originalProc{
		ID: p.ID, App: p.App, Name: p.Name, Image: p.Image, Config: config,
		Port: p.Port, State: p.State, Command: plain(p.Command), Links: originalLinks{"/proc/" + p.ID},
	}
}

// plain is the command as a plain value, so that the answer's encoder and not
// the command's own decides that <, > and & are not escaped.
func plain(c proc.Command) any {
	var v any
	if b, err := json.Marshal(c); err == nil && json.Unmarshal(b, &v) == nil {
		return v
	}
	return c
}

func (s *Server) originalCreate(c echo.Context) error {
	body, err := jsonBody(c, true)
	if err != nil {
		return err
	}
	var req originalRequest
	if err := decodeLax(body, &req); err != nil {
		return err
	}
	p, err := s.cfg.Procs.Create(c.Request().Context(), proc.Request{
		App: req.App, Name: req.Name, Image: req.Image, Command: req.Command, Config: req.Config, Callback: req.Callback,
	})
	if err != nil {
		return err
	}
	c.Response().Header().Set(echo.HeaderLocation, "/proc/"+p.ID)
	return s.answer(c, http.StatusCreated, originalOf(p))
}

func (s *Server) originalList(c echo.Context) error {
	procs := map[string]originalProc{}
	for _, p := range s.cfg.Procs.List() {
		procs[p.ID] = originalOf(p)
	}
	return s.answer(c, http.StatusOK, procs)
}

func (s *Server) originalGet(c echo.Context) error {
	id, err := procID(c)
	if err != nil {
		return err
	}
	p, err := s.cfg.Procs.Get(id)
	if err != nil {
		return err
	}
	return s.answer(c, http.StatusOK, originalOf(p))
}

func (s *Server) originalRemove(c echo.Context) error {
	id, err := procID(c)
	if err != nil {
		return err
	}
	if err := s.allow(c, maxWait); err != nil {
		return err
	}
	if err := s.cfg.Procs.Remove(context.WithoutCancel(c.Request().Context()), id, -1); err != nil {
		return err
	}
	return c.NoContent(http.StatusNoContent)
}
