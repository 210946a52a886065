package server

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"golang.org/x/net/netutil"
	"golang.org/x/sync/errgroup"
)

// A Server answers the API. It starts no goroutine but in [Server.Serve].
type Server struct {
	cfg     Config
	known   map[string]bool // the route patterns
	open    map[string]bool // those that need no token
	closing atomic.Bool     // set once, when Serve begins to drain

	// streams ends when the server shuts down, and with it every answer
	// that has no end of its own.
	streams    context.Context
	endStreams context.CancelFunc
}

// New makes a server.
func New(cfg Config) *Server {
	s := &Server{cfg: cfg.withDefaults(), known: map[string]bool{}, open: map[string]bool{}}
	s.streams, s.endStreams = context.WithCancel(context.Background())
	for _, r := range s.routes() {
		s.known[r.path] = true
		s.open[r.path] = r.open
	}
	return s
}

// Unix is the API for the unix socket: who can connect is trusted.
func (s *Server) Unix() http.Handler { return s.handler() }

// TCP is the API for the network: who calls must show the token.
func (s *Server) TCP() http.Handler { return s.handler(s.checkHost, s.authenticate) }

// Serve answers on all listeners until ctx ends, then lets the requests finish,
// for at most Config.Drain. The listeners are closed when it returns.
func (s *Server) Serve(ctx context.Context, unix, tcp []net.Listener) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, l := range unix {
		s.serve(ctx, g, l, s.Unix())
	}
	for _, l := range tcp {
		s.serve(ctx, g, l, s.TCP())
	}
	return g.Wait()
}

// serve adds to g the two goroutines of one listener.
func (s *Server) serve(ctx context.Context, g *errgroup.Group, l net.Listener, h http.Handler) {
	t := s.cfg.timeouts
	srv := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: t.header,
		IdleTimeout:       t.idle,
		WriteTimeout:      t.write,
		MaxHeaderBytes:    32 << 10,
		ErrorLog:          slog.NewLogLogger(s.cfg.Log.Handler(), slog.LevelDebug),
	}
	// Shutdown waits for answers that are under way but does not end them.
	srv.RegisterOnShutdown(s.endStreams)

	// Owned by g: ends when srv is shut down.
	g.Go(func() error {
		err := srv.Serve(netutil.LimitListener(&acceptor{Listener: l, log: s.cfg.Log}, s.cfg.MaxConns))
		if errors.Is(err, http.ErrServerClosed) {
			return nil
		}
		return err
	})
	// Owned by g: ends after ctx and the drain.
	g.Go(func() error {
		<-ctx.Done()
		s.closing.Store(true)
		drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.cfg.Drain)
		defer cancel()
		if err := srv.Shutdown(drain); err != nil {
			s.cfg.Log.Warn("requests were cut off", "drain_seconds", s.cfg.Drain.Seconds(), "err", err)
			return srv.Close()
		}
		return nil
	})
}

// until is the context of an answer that may last: it ends with the request,
// when the server shuts down, or after d if that is above zero.
func (s *Server) until(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	ctx, end := context.WithCancel(ctx)
	stop := context.AfterFunc(s.streams, end)
	cancel := func() {}
	if d > 0 {
		ctx, cancel = context.WithTimeout(ctx, d)
	}
	return ctx, func() { cancel(); stop(); end() }
}
