package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/gilliam/hypervisor/server/proc"
)

// awaitListening returns the proc when it listens on its port. The error of one
// that ended instead says why, with its last output.
func awaitListening(ctx context.Context, c *client, id string) (proc.Proc, error) {
	p, err := c.wait(ctx, id, "listening")
	switch {
	case ctx.Err() != nil:
		return p, context.Cause(ctx)
	case err != nil:
		return p, err
	case p.State.Ended():
		err = fmt.Errorf("it ended instead of listening on port %d: state %s: %s", p.Port, p.State, orDash(p.Reason))
		return p, errors.Join(err, lastLines(ctx, c, id))
	}
	return p, nil
}

// detached tells of a proc that goes on without us, once it listens if that is
// wanted.
func (a *app) detached(ctx context.Context, c *client, cfg *runConfig, p proc.Proc) (err error) {
	if !cfg.json {
		fmt.Fprintln(a.stdout, p.ID)
	}
	if cfg.listening {
		if p, err = awaitListening(ctx, c, p.ID); err != nil {
			return &exitError{exitNoProc, fmt.Errorf("proc %s: %w", p.ID, err)}
		}
	}
	if cfg.json {
		return a.printJSON(p)
	}
	return nil
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
