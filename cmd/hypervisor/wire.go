package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"time"

	"github.com/gilliam/hypervisor/isolate"
	"github.com/gilliam/hypervisor/metrics"
	"github.com/gilliam/hypervisor/rootfs"
	"github.com/gilliam/hypervisor/rootfs/debian"
	"github.com/gilliam/hypervisor/server/proc"
)

// callbackTimeout is the original's.
const callbackTimeout = 10 * time.Second

// openNode opens the real rooms.
func openNode(cfg *serveConfig, m *metrics.Metrics, log *slog.Logger) (_ *node, err error) {
	engine, err := openEngine(cfg, log)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, engine.Close())
		}
	}()
	images, err := openImages(cfg, log)
	if err != nil {
		return nil, err
	}
	binds, err := rootfs.OpenBindDirs(cfg.bindDirs, []string{cfg.stateDir, cfg.runDir, cfg.socket})
	if err != nil {
		return nil, fmt.Errorf("--allow-bind: %w", err)
	}
	volumes, err := rootfs.OpenVolumes(rootfs.VolumesConfig{Dir: filepath.Join(cfg.stateDir, "volumes"), Max: cfg.maxVolumes, MaxSize: cfg.maxVolume})
	if err != nil {
		return nil, err
	}
	layers, err := openLayers(cfg, engine, log)
	if err != nil {
		return nil, err
	}
	defer func() { // before the engine is closed
		if err != nil {
			err = errors.Join(err, layers.Close())
		}
	}()
	store := rootfs.OpenTemplates(templatesConfig(cfg.stateDir, cfg.template, cfg.runUser))
	if err := errors.Join(store.Sweep(log), debian.Sweep(cfg.stateDir, leases(cfg.runDir))); err != nil {
		return nil, err
	}
	tellDefault(log, store, cfg.template)
	secrets, err := readSecrets(cfg.callbackSecretFile)
	if err != nil {
		return nil, err
	}
	callbacks := rootfs.NewClient(cfg.allowNets, callbackTimeout)
	callbacks.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	procs, err := proc.Open(proc.Config{
		StateDir: cfg.stateDir, RunDir: cfg.runDir,
		Templates: store, Images: images, Layers: layers, Engine: engine, Volumes: volumes, BindDirs: binds,
		Builds: debian.Left{StateDir: cfg.stateDir, Leases: leases(cfg.runDir)},
		Policy: cfg.policy, BasePort: cfg.basePort, MaxProcs: cfg.maxProcs, LogSink: cfg.logSink, Grace: cfg.grace, Reserve: cfg.reserve, KeepEnded: cfg.keepEnded,
		StopOnExit: cfg.stopOnExit, Restarts: cfg.restarts, AuditEvery: cfg.audit, LogSegment: cfg.logSize, LogRate: cfg.logRate,
		Client: callbacks, CallbackSecrets: secrets, CallbackGiveUp: cfg.callbackGiveUp, CallbackBackoff: cfg.callbackBackoff,
		OnPhase: m.ObservePhase, CountPanic: m.CountPanic, OnListening: m.ObserveListening, Log: log,
	})
	if err != nil {
		return nil, err
	}
	closer := func() error { return errors.Join(images.Close(), layers.Close(), volumes.Close(), engine.Close()) }
	return &node{procs: procs, templates: templates{store, procs}, images: images, scrub: scrubber(cfg, images, procs), remarks: engine.Host().Remarks(), close: closer}, nil
}

// openEngine looks at the machine, says what of it weakens sandboxes, and opens what
// launches them.
func openEngine(cfg *serveConfig, log *slog.Logger) (*isolate.Engine, error) {
	host, err := isolate.Probe()
	if err != nil {
		return nil, fmt.Errorf("this machine cannot run sandboxes: %w", err)
	}
	if host.Disk, err = isolate.ProbeDisk(cfg.stateDir, host.Cgroup); err != nil {
		return nil, err
	}
	if err := host.CheckLimits(isolate.Limits{IO: cfg.policy.Max.IO}); err != nil {
		return nil, fmt.Errorf("--max-io: %w", err)
	}
	if err := host.CheckLimits(isolate.Limits{Disk: cmp.Or(cfg.policy.Max.Disk, cfg.policy.Max.Inodes)}); err != nil {
		return nil, fmt.Errorf("--max-disk, --max-inodes: %w", err)
	}
	if host.AppArmor, err = host.AppArmor.Choose(cfg.appArmor); err != nil {
		return nil, fmt.Errorf("--apparmor-profile: %w", err)
	}
	for _, kind := range cfg.imageFS {
		if err := isolate.CheckFileSystem(kind); err != nil {
			return nil, fmt.Errorf("--allow-image-fs: %w", err)
		}
	}
	engine, err := isolate.NewEngine(host)
	if err != nil {
		return nil, fmt.Errorf("this machine cannot run sandboxes: %w", err)
	}
	logRemarks(log, host.Remarks())
	return engine, nil
}

func openImages(cfg *serveConfig, log *slog.Logger) (*rootfs.Images, error) {
	logins, err := readLogins(cfg.imageLogins)
	if err != nil {
		return nil, err
	}
	return rootfs.OpenImages(rootfs.ImagesConfig{
		Dir: filepath.Join(cfg.stateDir, "cache"), AllowedDirs: cfg.imageDirs, AllowedNets: cfg.allowNets,
		CacheSize: cfg.imageCache, Credentials: logins, FileSystems: cfg.imageFS, Log: log,
	})
}

// openLayers opens the layers and has some made ahead, where they can be mounted.
func openLayers(cfg *serveConfig, engine *isolate.Engine, log *slog.Logger) (*rootfs.Layers, error) {
	layers, err := rootfs.OpenLayers(filepath.Join(cfg.stateDir, "layers"))
	if err != nil {
		return nil, err
	}
	layers.Log = log
	if engine.Host().NoDiskLimit == "" {
		if err := layers.KeepReady(isolate.Limits{Disk: isolate.DefaultDisk}, engine.PrepareLayer); err != nil {
			return nil, errors.Join(err, layers.Close())
		}
	}
	return layers, nil
}

// scrubTime is how often all images are read again.
const scrubTime = 24 * time.Hour

// scrubber reads images again, if that is wanted.
func scrubber(cfg *serveConfig, images *rootfs.Images, procs *proc.Manager) func(context.Context) {
	if cfg.imageScrub == 0 {
		return nil
	}
	return func(ctx context.Context) { images.Scrub(ctx, cfg.imageScrub, scrubTime, procs.ImageRefs) }
}

// logRemarks tells in one line what this host lacks, a key for each remark.
func logRemarks(log *slog.Logger, remarks []isolate.Remark) {
	if len(remarks) == 0 {
		return
	}
	var attrs []any
	for _, r := range remarks {
		attrs = append(attrs, slog.String(r.About, r.Text))
	}
	log.Warn("this host could isolate better", attrs...)
}
