package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/gilliam/hypervisor/server/proc"
)

func (a *app) demoVerb() *cobra.Command {
	var cfg serveConfig
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Run the daemon and a sample web app, to look at",
		Long: `Run the daemon in the foreground, deploy a sample web app through its API, wait
until it answers, and print one line on the standard output:

  ready: http://127.0.0.1:10000/

Ctrl-C or SIGTERM stop the app and the daemon. It needs no template and no
network: where there is no default template, the app runs on the one that is
built in, mini. The flags are those of serve.`,
		Example: `  sudo hypervisor demo
  sudo hypervisor demo --state-dir /tmp/demo --template /var/lib/gilliam/template --port 0`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			dir := filepath.Join(cfg.stateDir, "demo")
			cfg.imageDirs = append(cfg.imageDirs, dir)
			cfg.stopOnExit = true
			if err := cfg.complete(); err != nil {
				return err
			}
			return a.demo(cmd.Context(), &cfg, dir)
		},
	}
	cfg.flags(cmd.Flags())
	return cmd
}

// demo serves, and deploys the sample app once the API answers. Whichever of
// the two fails first ends both.
func (a *app) demo(ctx context.Context, cfg *serveConfig, dir string) error {
	g, ctx := errgroup.WithContext(ctx)
	ready := make(chan struct{})
	// Owned by g: ends with ctx.
	g.Go(func() error { return a.serve(ctx, cfg, func() { close(ready) }) })
	// Owned by g: ends when the app answers, or with ctx.
	g.Go(func() error {
		select {
		case <-ctx.Done():
			return nil
		case <-ready:
		}
		err := a.deploySample(ctx, newClient(clientConfig{socket: cfg.socket}), dir)
		if ctx.Err() != nil {
			return nil // we were told to stop, or serve says what is wrong
		}
		return err
	})
	return g.Wait()
}

// deploySample makes the sample proc and tells when it answers.
func (a *app) deploySample(ctx context.Context, c *client, dir string) error {
	image, err := packSample(dir)
	if err != nil {
		return err
	}
	if err := removeSamples(ctx, c); err != nil {
		return err
	}
	p, err := c.create(ctx, proc.Request{App: sampleApp, Name: "web.1", Image: image, Command: proc.Shell("exec sh run.sh")})
	if err != nil {
		return fmt.Errorf("deploy the sample app: %w", err)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, a.readyTime, fmt.Errorf("the sample app did not answer within %v", a.readyTime))
	defer cancel()
	if p, err = awaitListening(ctx, c, p.ID); err != nil {
		return fmt.Errorf("deploy the sample app: %w", err)
	}
	url := fmt.Sprintf("http://127.0.0.1:%d/", p.Port)
	if err := answers(ctx, url); err != nil {
		return fmt.Errorf("deploy the sample app: %w", errors.Join(err, lastLines(ctx, c, p.ID)))
	}
	fmt.Fprintf(a.stdout, "ready: %s\n", url)
	return nil
}

// sampleApp is the name of the app that demo deploys.
const sampleApp = "sample"

// removeSamples removes what a demo that was killed has left.
func removeSamples(ctx context.Context, c *client) error {
	procs, err := c.list(ctx, sampleApp, "")
	if err != nil {
		return err
	}
	for _, p := range procs.Procs {
		if err := c.remove(ctx, p.ID, 0); err != nil {
			return fmt.Errorf("remove the last sample app: %w", err)
		}
	}
	return nil
}

// answers tells whether the web app at url does, which is not so when it says
// anything but 200.
func answers(ctx context.Context, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	req.Close = true
	res, err := http.DefaultTransport.RoundTrip(req) // no redirects
	if err != nil {
		return err
	}
	res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("it answers %s", res.Status)
	}
	return nil
}
