package main

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"

	"github.com/gilliam/hypervisor/rootfs"
	"github.com/gilliam/hypervisor/rootfs/mini"
	"github.com/gilliam/hypervisor/server"
	"github.com/gilliam/hypervisor/server/proc"
)

func templatesConfig(stateDir, template, runUser string) rootfs.TemplatesConfig {
	return rootfs.TemplatesConfig{
		Builtin: mini.Template(),
		Default: template, Folder: filepath.Join(stateDir, "template"), Dir: filepath.Join(stateDir, "templates"), RunUser: runUser,
	}
}

// tellDefault says when the default template is not what somebody has made to be it.
func tellDefault(log *slog.Logger, store *rootfs.Templates, asked string) {
	t, err := store.Get("")
	switch {
	case err != nil:
		log.Warn("no default template: procs must name one", "err", err)
	case asked == "" && store.Builtin(t):
		log.Warn("there is no default template: procs that name none run on "+t.Name+", a small userland that is built in",
			"make_one", "hypervisor template build default")
	}
}

// templates shows the API what it needs of the templates, and of the procs that
// are on them.
type templates struct {
	store *rootfs.Templates
	procs *proc.Manager
}

func (t templates) List() ([]server.Template, error) {
	list, err := t.store.List()
	return t.shown(list), shownError(err)
}

func (t templates) Versions(ref string) ([]server.Template, error) {
	list, err := t.store.Versions(ref)
	return t.shown(list), shownError(err)
}

func (t templates) Verify(ctx context.Context, ref string) (server.TemplateVerdict, error) {
	found, changes, err := t.store.Verify(ctx, ref, nil)
	if err != nil {
		return server.TemplateVerdict{}, shownError(err)
	}
	verdict := server.TemplateVerdict{Template: templateOf(found)}
	for _, c := range changes {
		verdict.Differences = append(verdict.Differences, server.TemplateDifference{Path: c.Path, What: c.What})
	}
	return verdict, nil
}

func (t templates) Remove(ref string) error { return shownError(t.procs.RemoveTemplate(ref)) }

func (t templates) Prune() ([]server.Template, error) {
	gone, err := t.procs.PruneTemplates()
	return t.shown(gone), shownError(err)
}

func (t templates) shown(list []rootfs.Template) []server.Template {
	uses := t.procs.TemplateUses()
	shown := make([]server.Template, 0, len(list))
	for _, one := range list {
		s := templateOf(one)
		s.Procs = uses[one.Ref()]
		shown = append(shown, s)
	}
	return shown
}

func templateOf(t rootfs.Template) server.Template {
	return server.Template{
		Name: t.Name, Path: t.Path, OS: t.OS, User: t.UserName, Created: t.Created,
		Version: t.Version, Hash: t.Hash, Source: t.Source, Files: t.Files, Bytes: t.Bytes,
	}
}

// shownError is an error of the store as the API knows it.
func shownError(err error) error {
	switch {
	case errors.Is(err, rootfs.ErrNotExist):
		return &server.TemplateError{Kind: server.ErrNoTemplate, Text: err.Error()}
	case errors.Is(err, rootfs.ErrInUse):
		return &server.TemplateError{Kind: server.ErrTemplateInUse, Text: err.Error()}
	case errors.Is(err, rootfs.ErrInvalid):
		return &proc.FieldError{Field: "name", Detail: err.Error()}
	}
	return err
}

// An adopter takes a folder over as a template.
type adopter func(ctx context.Context, cfg adoptConfig) (server.Template, error)

// An adoptConfig is what template adopt may be told.
type adoptConfig struct {
	stateDir, template, runUser string
	name, dir                   string
	resolvConf, aptSources      bool
}

func adoptTemplate(ctx context.Context, cfg adoptConfig) (server.Template, error) {
	store := rootfs.OpenTemplates(templatesConfig(cfg.stateDir, cfg.template, cfg.runUser))
	t, err := store.Adopt(ctx, cfg.name, cfg.dir, rootfs.AdoptOptions{ResolvConf: cfg.resolvConf, AptSources: cfg.aptSources})
	return templateOf(t), err
}
