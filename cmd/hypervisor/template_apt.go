package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/gilliam/hypervisor/rootfs"
	"github.com/gilliam/hypervisor/rootfs/debian"
	"github.com/gilliam/hypervisor/rootfs/debian/archive"
)

// installPackages makes a new version of a template with more packages.
func installPackages(ctx context.Context, cfg buildConfig) (built, error) {
	host, err := archive.ReadHost(os.DirFS("/"))
	if err != nil {
		return built{}, fmt.Errorf("read this machine's apt configuration: %w", err)
	}
	templates := rootfs.OpenTemplates(templatesConfig(cfg.stateDir, cfg.template, cfg.runUser))
	old, err := templates.Get(cfg.name)
	if err != nil {
		return built{}, err
	}
	sources, err := cfg.sourcesIn(old, host)
	if err != nil {
		return built{}, err
	}
	draft, err := templates.Draft(cfg.name)
	if err != nil {
		return built{}, err
	}
	about := fmt.Sprintf("%s with %s", old.Ref(), strings.Join(cfg.packages, ", "))
	b, err := cfg.inDraft(ctx, draft, host, sources, about, func(b *debian.Builder) (debian.Summary, error) {
		if err := draft.Fill(ctx, old); err != nil {
			return debian.Summary{}, err
		}
		return b.Install(ctx, draft.Dir, cfg.packages)
	})
	return b, errors.Join(err, draft.Discard())
}

// sourcesIn are where a template's own apt gets packages. A mirror that this machine
// logs in to is asked as this machine asks it.
func (cfg *buildConfig) sourcesIn(t rootfs.Template, host archive.Host) ([]debian.Source, error) {
	root, err := os.OpenRoot(t.Path)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	its, err := archive.ReadHost(root.FS())
	if err != nil {
		return nil, fmt.Errorf("read the apt configuration of template %s: %w", t.Ref(), err)
	}
	var list []debian.Source
	for _, s := range its.Sources {
		if !s.For(cfg.arch) {
			continue
		}
		for _, ours := range host.Sources {
			if archive.Redact(ours.Mirror) == archive.Redact(s.Mirror) {
				s.Mirror = ours.Mirror
			}
		}
		s.SignedBy = "" // a path in the template
		ring, err := cfg.keyring(s)
		if err != nil {
			return nil, err
		}
		list = append(list, debian.Source{Source: s, Keyring: ring})
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("template %s has no sources of packages for %s in its /etc/apt", t.Ref(), cfg.arch)
	}
	return list, nil
}
