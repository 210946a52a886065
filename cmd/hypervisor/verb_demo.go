package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/gilliam/hypervisor/server/proc"
)

// demoStep is how long demo waits before it asks again.
const demoStep = 25 * time.Millisecond

func (a *app) demoVerb() *cobra.Command {
	var cfg serveConfig
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Run the daemon and a sample web app, to look at",
		Long: `Run the daemon in the foreground, deploy a sample web app (Python) through its
API, wait until it answers, and print one line on the standard output:

  ready: http://127.0.0.1:10000/

Ctrl-C or SIGTERM stop the app and the daemon. The default template must have
python3. The flags are those of serve.`,
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
	p, err := c.create(ctx, proc.Request{App: sampleApp, Name: "web.1", Image: image, Command: proc.Shell("exec python3 app.py")})
	if err != nil {
		return fmt.Errorf("deploy the sample app: %w", err)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, a.readyTime, fmt.Errorf("the sample app did not answer within %v", a.readyTime))
	defer cancel()
	url, err := awaitAnswer(ctx, c, p.ID)
	if err != nil {
		return errors.Join(fmt.Errorf("deploy the sample app: %w", err), lastLines(ctx, c, p.ID))
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

// awaitAnswer asks the proc's port again and again, until it answers with 200
// or the proc has ended.
func awaitAnswer(ctx context.Context, c *client, id string) (url string, err error) {
	tick := time.NewTicker(demoStep)
	defer tick.Stop()
	for {
		p, err := c.get(ctx, id)
		switch {
		case ctx.Err() != nil:
			return "", context.Cause(ctx)
		case err != nil:
			return "", err
		case p.State.Ended():
			return "", fmt.Errorf("it ended instead of answering: state %s: %s", p.State, orDash(p.Reason))
		case p.State == proc.Running && p.Port != 0:
			url := fmt.Sprintf("http://127.0.0.1:%d/", p.Port)
			if answers(ctx, url) {
				return url, nil
			}
		}
		select {
		case <-ctx.Done():
			return "", context.Cause(ctx)
		case <-tick.C:
		}
	}
}

func answers(ctx context.Context, url string) bool {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false
	}
	req.Close = true
	res, err := http.DefaultTransport.RoundTrip(req) // no redirects
	if err != nil {
		return false
	}
	res.Body.Close()
	return res.StatusCode == http.StatusOK
}

// lastLines is the end of a proc's output, as an error to print.
func lastLines(ctx context.Context, c *client, id string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	var b strings.Builder
	err := c.logs(ctx, id, logQuery{tail: 20}, func(l logLine) error {
		fmt.Fprintf(&b, "\n  %s", l.bytes())
		return nil
	})
	if err != nil || b.Len() == 0 {
		return err
	}
	return fmt.Errorf("its last output was:%s", b.String())
}
