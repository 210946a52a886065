package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

// httpd serves the files of a folder, with the options of busybox's, until SIGTERM.
func httpd(args []string) error {
	f := options("httpd")
	f.BoolP("foreground", "f", false, "stay in the foreground, which this one always does")
	port := f.StringP("port", "p", os.Getenv("PORT"), "`[IP:]PORT` to listen on (default $PORT)")
	home := f.StringP("home", "h", ".", "`DIR` to serve")
	if err := f.Parse(args); err != nil {
		return err
	}
	addr := *port
	if !strings.Contains(addr, ":") {
		addr = ":" + addr
	}
	root, err := os.OpenRoot(*home) // links lead nowhere outside
	if err != nil {
		return err
	}
	defer root.Close()
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	srv := &http.Server{Handler: http.FileServerFS(root.FS()), ReadHeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute}
	// Owned by httpd: ends with the signal, and with it Serve.
	go func() {
		<-ctx.Done()
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		srv.Shutdown(ctx)
	}()
	if err := srv.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve %s: %w", ln.Addr(), err)
	}
	return nil
}
