package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gilliam/hypervisor/metrics"
	"github.com/gilliam/hypervisor/server"
)

// socketGroup is who may use the API's socket beside root.
const socketGroup = "gilliam"

// A node is what the API stands on.
type node struct {
	procs     procs
	templates server.Templates
	images    metrics.Images
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
func (a *app) serve(ctx context.Context, cfg *serveConfig, ready func(tcp net.Addr)) (err error) {
	if err := a.check(); err != nil {
		return err
	}
	unix.Umask(0o022) // whatever we were started with
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
	m := metrics.New(metrics.Build{Version: version, Commit: commit})
	n, err := a.open(cfg, m, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeNode(ctx, n, cfg.grace, log)) }()
	m.Watch(n.procs, n.images)

	onUnix, onTCP, err := listen(cfg)
	if err != nil {
		return err
	}
	srv := server.New(server.Config{
		Procs: n.procs, Templates: n.templates, Token: token, InsecureTCP: cfg.insecureTCP,
		Version:      server.Version{Version: version, Commit: commit, Go: runtime.Version()},
		AllowedHosts: cfg.allowedHosts, Listen: cfg.listen,
		Metrics: m.Handler(log), Observe: m.ObserveRequest, CountPanic: m.CountPanic, Log: log,
	})
	log.Info("ready", "tcp", onTCP.Addr().String(), "socket", cfg.socket, "state_dir", cfg.stateDir, "version", version, "commit", commit)
	ready(onTCP.Addr())
	err = srv.Serve(ctx, onUnix, onTCP)
	log.Info("shutting down")
	return err
}

// closeNode stops every proc and closes the rest. The deadline is the time
// that a proc is given, and some more to clean up.
func closeNode(ctx context.Context, n *node, grace time.Duration, log *slog.Logger) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace+20*time.Second)
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

// listen opens both listeners or none.
func listen(cfg *serveConfig) (onUnix, onTCP net.Listener, err error) {
	if err := os.MkdirAll(filepath.Dir(cfg.socket), 0o755); err != nil {
		return nil, nil, err
	}
	onUnix, err = server.ListenUnix(cfg.socket, socketGroup)
	if err != nil {
		return nil, nil, err
	}
	onTCP, err = net.Listen("tcp", net.JoinHostPort(cfg.listen.String(), strconv.Itoa(cfg.port)))
	if err != nil {
		if errors.Is(err, unix.EADDRINUSE) {
			err = fmt.Errorf("%w: choose another --port", err)
		}
		return nil, nil, errors.Join(err, onUnix.Close())
	}
	return onUnix, onTCP, nil
}

func newLogger(w io.Writer, cfg *serveConfig) *slog.Logger {
	opt := &slog.HandlerOptions{Level: cfg.logLevel}
	if cfg.logFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, opt))
	}
	return slog.New(slog.NewTextHandler(w, opt))
}
