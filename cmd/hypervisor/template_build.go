package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gilliam/hypervisor/isolate"
	"github.com/gilliam/hypervisor/rootfs"
	"github.com/gilliam/hypervisor/rootfs/debian"
	"github.com/gilliam/hypervisor/rootfs/debian/archive"
	"github.com/gilliam/hypervisor/server"
	"github.com/gilliam/hypervisor/server/proc"
)

// A buildConfig is what template build and template apt may be told.
type buildConfig struct {
	stateDir, runDir, template, runUser string

	name       string
	suite      string
	mirror     string
	arch       string
	keyrings   []string
	components []string
	packages   []string
	expired    bool

	epoch  time.Time
	report func(debian.Progress)
	log    func(line string)
}

// A built is what came of it.
type built struct {
	Template server.Template `json:"template"`
	debian.Summary
}

// A builder builds templates.
type builder func(ctx context.Context, cfg buildConfig) (built, error)

// buildTemplate makes a template of a Debian archive's packages.
func buildTemplate(ctx context.Context, cfg buildConfig) (built, error) {
	host, err := archive.ReadHost(os.DirFS("/"))
	if err != nil {
		return built{}, fmt.Errorf("read this machine's apt configuration: %w", err)
	}
	sources, err := cfg.sources(host)
	if err != nil {
		return built{}, err
	}
	templates := rootfs.OpenTemplates(templatesConfig(cfg.stateDir, cfg.template, cfg.runUser))
	draft, err := templates.Draft(cfg.name)
	if err != nil {
		return built{}, err
	}
	about := fmt.Sprintf("Debian %s of %s", cfg.suite, archive.Redact(sources[0].Mirror))
	if len(cfg.packages) > 0 {
		about += " with " + strings.Join(cfg.packages, ", ")
	}
	b, err := cfg.inDraft(ctx, draft, host, sources, about, func(b *debian.Builder) (debian.Summary, error) {
		return b.Build(ctx, draft.Dir, cfg.packages)
	})
	return b, errors.Join(err, draft.Discard())
}

// inDraft does the work in a draft and seals it.
func (cfg *buildConfig) inDraft(ctx context.Context, draft *rootfs.Draft, apt archive.Host, sources []debian.Source, about string,
	do func(*debian.Builder) (debian.Summary, error)) (b built, err error) {
	host, err := isolate.Probe()
	if err != nil {
		return b, fmt.Errorf("this machine cannot run sandboxes: %w", err)
	}
	if host.AppArmor, err = host.AppArmor.Choose(""); err != nil {
		return b, err
	}
	engine, err := isolate.NewEngine(host)
	if err != nil {
		return b, fmt.Errorf("this machine cannot run sandboxes: %w", err)
	}
	defer func() { err = errors.Join(err, engine.Close()) }()
	client, err := archive.NewClient(filepath.Join(cfg.stateDir, "packages"), apt.Proxies, apt.Logins)
	if err != nil {
		return b, err
	}
	defer client.Close()
	work, err := debian.NewWork(cfg.stateDir, leases(cfg.runDir))
	if err != nil {
		return b, err
	}
	defer func() { err = errors.Join(err, work.Close()) }()
	now := time.Now()
	if b.Summary, err = do(&debian.Builder{
		Work: work, Engine: engine, Client: client, Sources: sources, Arch: cfg.arch,
		Fresh: archive.Freshness{Now: now, Expired: cfg.expired || apt.Expired && cfg.mirror == ""},
		Epoch: cfg.epoch, Report: cfg.report, Log: cfg.log,
	}); err != nil {
		return b, err
	}
	if err := client.Prune(now); err != nil {
		return b, err
	}
	var hashed atomic.Int64
	sealed, err := draft.Seal(ctx, rootfs.SealOptions{Source: about, Read: func(bytes int) {
		cfg.report(debian.Progress{Phase: debian.Seal, Bytes: hashed.Add(int64(bytes))})
	}})
	b.Template = templateOf(sealed)
	return b, err
}

// leases are of ids, shared with all hypervisors of this machine.
func leases(runDir string) debian.Leases {
	return debian.Leases{
		Take: func(dir string, count int) ([]isolate.IDRange, func() error, error) {
			return proc.LeaseIDs(runDir, dir, count)
		},
		Forget: func(dir string) error { return proc.ReleaseIDs(runDir, dir) },
	}
}

// sources are where packages come from: the mirror that was named, or those of the
// suite, with its updates and its security fixes, that this machine's apt has.
func (cfg *buildConfig) sources(host archive.Host) ([]debian.Source, error) {
	found := []archive.Source{{Mirror: cfg.mirror, Suite: cfg.suite, Components: cfg.components}}
	if cfg.mirror == "" {
		found = suiteOf(host.Sources, cfg.suite, cfg.arch)
		if !slices.ContainsFunc(found, func(s archive.Source) bool { return s.Suite == cfg.suite }) {
			return nil, fmt.Errorf("this machine's apt has no source of %s for %s: name a mirror with --mirror", cfg.suite, cfg.arch)
		}
	}
	list := make([]debian.Source, 0, len(found))
	for _, s := range found {
		ring, err := cfg.keyring(s)
		if err != nil {
			return nil, err
		}
		s.Components = cfg.components
		list = append(list, debian.Source{Source: s, Keyring: ring})
	}
	return list, nil
}

// suiteOf are the sources of a suite, with its updates and security fixes.
func suiteOf(sources []archive.Source, suite, arch string) []archive.Source {
	var found []archive.Source
	for _, s := range sources {
		name := strings.TrimSuffix(s.Suite, "/")
		ours := name == suite || name == suite+"-updates" || name == suite+"-security" || name == suite+"/updates"
		twice := slices.ContainsFunc(found, func(o archive.Source) bool { return o.Suite == s.Suite })
		if ours && !twice && s.For(arch) {
			found = append(found, s)
		}
	}
	return found
}

// keyring is what a source must be signed with.
func (cfg *buildConfig) keyring(s archive.Source) (archive.Keyring, error) {
	switch {
	case len(cfg.keyrings) > 0:
		return archive.ReadKeyring(cfg.keyrings...)
	case s.SignedBy != "":
		return archive.SignedBy("/", s.SignedBy)
	}
	return archive.HostKeyring("/")
}

// debianArches are the names that Debian has for architectures, where it has its own.
var debianArches = map[string]string{"386": "i386", "arm": "armhf", "ppc64le": "ppc64el"}

// hostArch is this machine's as Debian calls it.
func hostArch() string {
	if name, ok := debianArches[runtime.GOARCH]; ok {
		return name
	}
	return runtime.GOARCH
}
