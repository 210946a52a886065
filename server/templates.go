package server

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"
)

// Templates are what procs may be made from. An error that is a client's to mend is a
// [TemplateError] or a [proc.FieldError].
type Templates interface {
	List() ([]Template, error)                                       // the current versions, the default template first
	Versions(name string) ([]Template, error)                        // all of one, the current one first
	Verify(ctx context.Context, ref string) (TemplateVerdict, error) // reads all of it
	Remove(ref string) error                                         // a version, or all
	Prune() ([]Template, error)                                      // versions that nobody needs; tells which
}

// A Template is one version of a template, or a plain folder.
type Template struct {
	Name    string    `json:"name"`
	Path    string    `json:"path,omitempty"`
	OS      string    `json:"os,omitempty"`      // as its os-release(5) says
	User    string    `json:"user,omitempty"`    // who the apps run as
	Created time.Time `json:"created,omitzero"`  // when it was sealed, or the folder made
	Version string    `json:"version,omitempty"` // empty: a plain folder, which has none
	Hash    string    `json:"hash,omitempty"`    // of the whole tree
	Source  string    `json:"source,omitempty"`  // what it was made of, in words
	Files   int       `json:"files,omitempty"`
	Bytes   int64     `json:"bytes,omitempty"`
	Procs   int       `json:"procs,omitempty"` // that have need of it
}

// TemplateList is the answer of GET /v1/templates and of POST /v1/templates/prune.
type TemplateList struct {
	Templates []Template `json:"templates"`
}

// TemplateVersions is the answer of GET /v1/templates/{name}.
type TemplateVersions struct {
	Versions []Template `json:"versions"` // the current one first
}

// A TemplateVerdict is the answer of GET /v1/templates/{name}/verify.
type TemplateVerdict struct {
	Template    Template             `json:"template"`
	Differences []TemplateDifference `json:"differences"` // none: it is what was sealed
}

// A TemplateDifference is a file that is not as it was sealed.
type TemplateDifference struct {
	Path string `json:"path"`
	What string `json:"what"` // "added", "missing", or what is different
}

// A TemplateError is a sentinel of this package with a text of its own.
type TemplateError struct {
	Kind error // ErrNoTemplate or ErrTemplateInUse
	Text string
}

func (e *TemplateError) Error() string { return e.Text }
func (e *TemplateError) Unwrap() error { return e.Kind }

// verifyTime is how long reading a whole template may take.
const verifyTime = 10 * time.Minute

func (s *Server) listTemplates(c echo.Context) error {
	list, err := s.cfg.Templates.List()
	return s.answerTemplates(c, list, err)
}

func (s *Server) getTemplate(c echo.Context) error {
	versions, err := s.cfg.Templates.Versions(c.Param("name"))
	if err != nil {
		return templatesError(err)
	}
	return s.answer(c, http.StatusOK, TemplateVersions{versions})
}

func (s *Server) verifyTemplate(c echo.Context) error {
	if err := s.allow(c, verifyTime); err != nil {
		return err
	}
	ctx, cancel := s.until(c.Request().Context(), verifyTime)
	defer cancel()
	verdict, err := s.cfg.Templates.Verify(ctx, c.Param("name"))
	if err != nil {
		return templatesError(err)
	}
	if verdict.Differences == nil {
		verdict.Differences = []TemplateDifference{}
	}
	return s.answer(c, http.StatusOK, verdict)
}

func (s *Server) removeTemplate(c echo.Context) error {
	if err := s.cfg.Templates.Remove(c.Param("name")); err != nil {
		return templatesError(err)
	}
	return c.NoContent(http.StatusNoContent)
}

func (s *Server) pruneTemplates(c echo.Context) error {
	gone, err := s.cfg.Templates.Prune()
	return s.answerTemplates(c, gone, err)
}

func (s *Server) answerTemplates(c echo.Context, list []Template, err error) error {
	if err != nil {
		return templatesError(err)
	}
	if list == nil {
		list = []Template{}
	}
	return s.answer(c, http.StatusOK, TemplateList{list})
}

// templatesError is err as the table has it: what it has not is the store's.
func templatesError(err error) error {
	if rowOf(err).err == internal.err {
		return fmt.Errorf("%w: %w", ErrTemplates, err)
	}
	return err
}
