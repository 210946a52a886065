package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/gilliam/hypervisor/cmd/hypervisor/service"
	"github.com/gilliam/hypervisor/isolate"
	"github.com/gilliam/hypervisor/isolate/safely"
	"github.com/gilliam/hypervisor/metrics"
	"github.com/gilliam/hypervisor/server"
)

// A node is what the API stands on.
type node struct {
	procs     procs
	templates server.Templates
	images    metrics.Images
	scrub     func(ctx context.Context) // until ctx ends; nil: nothing
	remarks   []isolate.Remark
	close     func() error // after the procs
}

// procs is what the daemon needs of the procs; *proc.Manager has it.
type procs interface {
	server.Procs
	metrics.Procs
	Close(ctx context.Context) error
}

// An opener opens the rooms behind the API.
type opener func(cfg *serveConfig, m *metrics.Metrics, log *slog.Logger) (*node, error)

// serve runs the daemon until ctx ends; see the package's doc for the order. It
// calls ready once, when the API answers.
func (a *app) serve(ctx context.Context, cfg *serveConfig, ready func()) (err error) {
	if err := a.check(); err != nil {
		return err
	}
	unix.Umask(0o022) // whatever we were started with
	given, err := service.Inherit()
	if err != nil {
		return err
	}
	defer given.Close()
	if err := makeStateDir(cfg.stateDir); err != nil {
		return err
	}
	lock, err := lockState(cfg.stateDir)
	if err != nil {
		return err
	}
	defer lock.Close()
	token, err := stateToken(cfg.stateDir)
	if err != nil {
		return err
	}

	log := newLogger(a.stderr, cfg)
	manager := service.Notifier{Log: log}
	manager.Tell(service.Status("taking over the state folder %s", cfg.stateDir))
	m := metrics.New(metrics.Build{Version: version, Commit: commit})
	n, err := a.open(cfg, m, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeNode(ctx, n, cfg.grace, log)) }()
	defer n.scrubbing(ctx, safely.Guard{Log: log, Count: m.CountPanic})() // before the rooms close
	m.Watch(n.procs, n.images)

	on, err := listen(cfg, given)
	if err != nil {
		return err
	}
	srv := server.New(server.Config{
		Procs: n.procs, Templates: n.templates, Token: token, InsecureTCP: cfg.insecureTCP,
		Version:      server.Version{Version: version, Commit: commit, Go: runtime.Version()},
		Remarks:      n.remarks,
		AllowedHosts: cfg.allowedHosts, Listen: cfg.listen, MaxConns: on.maxConns(), Drain: drainTime,
		Metrics: m.Handler(log), Observe: m.ObserveRequest, CountPanic: m.CountPanic, Log: log,
	})
	return answer(ctx, srv, on, health{newClient(clientConfig{socket: on.unix[0].Addr().String()}), n.procs}, manager, func() {
		log.Info("ready", "tcp", addrs(on.tcp), "socket", addrs(on.unix), "state_dir", cfg.stateDir, "open_files", openFiles(),
			"version", version, "commit", commit)
		ready()
	})
}

// scrubbing has images read again until the function that it returns is called, which
// waits for the end of it.
func (n *node) scrubbing(ctx context.Context, guard safely.Guard) func() {
	if n.scrub == nil {
		return func() {}
	}
	ctx, end := context.WithCancel(ctx)
	over := make(chan struct{})
	// Owned by who called scrubbing: ends with ctx.
	go func() {
		defer close(over)
		guard.Run("scrub", func() { n.scrub(ctx) })
	}()
	return func() { end(); <-over }
}

// answer serves the API until ctx ends. It calls ready once the API answers, and
// tells the service manager how the daemon is.
func answer(ctx context.Context, srv *server.Server, on listeners, h health, manager service.Notifier, ready func()) error {
	g, ctx := errgroup.WithContext(ctx)
	// Owned by g: ends after ctx.
	g.Go(func() error { return srv.Serve(ctx, on.unix, on.tcp) })
	// Owned by g: ends with ctx, when h does.
	g.Go(func() error {
		status, err := h.check(ctx)
		switch {
		case ctx.Err() != nil:
			return nil // told to stop already
		case err != nil:
			return fmt.Errorf("the API does not answer: %w", err)
		}
		ready()
		manager.Tell(service.Ready, service.Status("%s", status))
		manager.Watch(ctx, h.check)
		return nil
	})
	// Owned by g: ends with ctx.
	g.Go(func() error {
		<-ctx.Done()
		manager.Log.Info("shutting down")
		manager.Tell(service.Stopping, service.Status("finishing requests, then closing"))
		return nil
	})
	return g.Wait()
}

// drainTime is how long requests have to be answered at the end.
const drainTime = 10 * time.Second

// closeTime is how long procs and engine have to close: the time that a proc is
// given, and some more to clean up.
func closeTime(grace time.Duration) time.Duration { return grace + 20*time.Second }

// closeNode closes the procs, and then the rest.
func closeNode(ctx context.Context, n *node, grace time.Duration, log *slog.Logger) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTime(grace))
	defer cancel()
	var errs []error
	if err := n.procs.Close(ctx); err != nil {
		errs = append(errs, fmt.Errorf("close procs: %w", err))
	}
	if err := n.close(); err != nil {
		errs = append(errs, fmt.Errorf("close engine: %w", err))
	}
	if len(errs) == 0 {
		log.Info("stopped")
	}
	return errors.Join(errs...)
}

func newLogger(w io.Writer, cfg *serveConfig) *slog.Logger {
	opt := &slog.HandlerOptions{Level: cfg.logLevel}
	if cfg.logFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, opt))
	}
	return slog.New(slog.NewTextHandler(w, opt))
}
