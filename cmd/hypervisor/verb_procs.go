package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/gilliam/hypervisor/server"
	"github.com/gilliam/hypervisor/server/proc"
)

func (a *app) psVerb() *cobra.Command {
	var appName, state string
	cmd := &cobra.Command{
		Use:   "ps",
		Short: "List procs, oldest first",
		Example: `  sudo hypervisor ps
  sudo hypervisor ps --app blog --state running
  sudo hypervisor ps --json | jq -r '.procs[].port'
  sudo hypervisor rm $(sudo hypervisor ps --quiet --state fail)`,
	}
	cmd.Flags().StringVar(&appName, "app", "", "only those of the app `NAME`")
	cmd.Flags().StringVar(&state, "state", "", "only those in `STATE`: init, boot, running, restarting, done or fail")
	return listing[server.ProcList, proc.Proc]{
		get:     func(c *client, ctx context.Context) (server.ProcList, error) { return c.list(ctx, appName, state) },
		entries: func(l server.ProcList) []proc.Proc { return l.Procs },
		table:   printProcs,
		name:    func(p proc.Proc) string { return p.ID },
		names:   "whole ids",
	}.verb(a, cmd)
}

func (c *client) list(ctx context.Context, app, state string) (list server.ProcList, err error) {
	q := url.Values{}
	if app != "" {
		q.Set("app", app)
	}
	if state != "" {
		q.Set("state", state)
	}
	path := "/v1/procs"
	if len(q) > 0 {
		path += "?" + q.Encode()
	}
	_, err = c.call(ctx, http.MethodGet, path, nil, &list)
	return list, err
}

// find turns what a person calls a proc into its id: the id, the beginning of
// one, or APP/NAME, which is the one that has not ended or else the newest.
func (c *client) find(ctx context.Context, what string) (string, error) {
	if uuid.Validate(what) == nil && len(what) == 36 {
		return what, nil
	}
	list, err := c.list(ctx, "", "")
	if err != nil {
		return "", err
	}
	return pick(list.Procs, what)
}

func pick(procs []proc.Proc, what string) (string, error) {
	var byID, byName, alive []proc.Proc // oldest first
	for _, p := range procs {
		switch {
		case what != "" && strings.HasPrefix(p.ID, what):
			byID = append(byID, p)
		case what == p.App+"/"+p.Name:
			byName = append(byName, p)
			if !p.State.Ended() {
				alive = append(alive, p)
			}
		}
	}
	switch {
	case len(byID) == 1:
		return byID[0].ID, nil
	case len(alive) == 1:
		return alive[0].ID, nil
	case len(byID) == 0 && len(alive) == 0 && len(byName) > 0:
		return byName[len(byName)-1].ID, nil
	case len(byID)+len(byName) == 0:
		return "", fmt.Errorf("no proc is called %q: give an id, the beginning of one, or APP/NAME, as \"hypervisor ps\" shows them", what)
	}
	return "", fmt.Errorf("%d procs are called %q: give an id, as \"hypervisor ps --quiet\" shows it", max(len(byID), len(alive)), what)
}

// each does something to every proc that is named, and goes on after an error.
func (c *client) each(ctx context.Context, names []string, do func(id string) error) error {
	return forEach(names, func(name string) error {
		id, err := c.find(ctx, name)
		if err != nil {
			return err
		}
		return do(id)
	})
}

func (a *app) stopVerb() *cobra.Command {
	var cfg clientConfig
	var grace time.Duration
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "stop PROC...",
		Short: "Stop procs; they stay in the list",
		Long: `Stop procs: SIGTERM, and SIGKILL to everything in the sandbox after the grace.
A proc is named by its id, the beginning of it, or APP/NAME.`,
		Example: `  sudo hypervisor stop blog/web.1
  sudo hypervisor stop --grace 30s 5f0c8f6e`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c := newClient(cfg)
			return c.each(cmd.Context(), args, func(id string) error {
				p, err := c.stop(cmd.Context(), id, grace)
				if err != nil {
					return err
				}
				return a.answer(asJSON, p, p.ID)
			})
		},
	}
	add(cmd.Flags(), &grace, "grace", "", "DURATION", "from SIGTERM to SIGKILL (default the daemon's)", parseGrace)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print each proc as it ended")
	cfg.flags(cmd.Flags())
	return cmd
}

func (a *app) rmVerb() *cobra.Command {
	var cfg clientConfig
	var grace time.Duration
	cmd := &cobra.Command{
		Use:   "rm PROC...",
		Short: "Stop procs and remove all that is left of them",
		Long: `Stop procs, then remove them with their files and logs. A proc is named by its
id, the beginning of it, or APP/NAME.`,
		Example: `  sudo hypervisor rm blog/web.1
  sudo hypervisor rm $(sudo hypervisor ps --quiet --state done)`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c := newClient(cfg)
			return c.each(cmd.Context(), args, func(id string) error {
				if err := c.remove(cmd.Context(), id, grace); err != nil {
					return err
				}
				fmt.Fprintln(a.stdout, id)
				return nil
			})
		},
	}
	add(cmd.Flags(), &grace, "grace", "", "DURATION", "from SIGTERM to SIGKILL (default the daemon's)", parseGrace)
	cfg.flags(cmd.Flags())
	return cmd
}

func (a *app) inspectVerb() *cobra.Command {
	var cfg clientConfig
	var plan, verify, asJSON bool
	cmd := &cobra.Command{
		Use:   "inspect PROC",
		Short: "Print all that is known of a proc, as JSON",
		Long: `Print a proc as the API tells it. It is named by its id, the beginning of it, or APP/NAME.

With --plan, print how it was launched: every mount with its flags, the range of
ids, limits, masked paths, one step a line. With --verify, read back from the
kernel what it enforces for the running proc and compare that with the plan; the
status is 1 when anything differs.`,
		Example: `  sudo hypervisor inspect blog/web.1
  sudo hypervisor inspect 5f0c8f6e | jq -r .reason
  sudo hypervisor inspect --plan blog/web.1
  sudo hypervisor inspect --verify blog/web.1`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if plan && verify {
				return usagef("--plan: not together with --verify")
			}
			c := newClient(cfg)
			id, err := c.find(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			switch {
			case plan:
				return a.printPlan(cmd.Context(), c, asJSON, http.MethodGet, "/v1/procs/"+id+"/plan", nil)
			case verify:
				return a.verify(cmd.Context(), c, asJSON, id)
			}
			p, err := c.get(cmd.Context(), id)
			if err != nil {
				return err
			}
			return a.printJSON(p)
		},
	}
	f := cmd.Flags()
	f.BoolVar(&plan, "plan", false, "print how it was launched, in place of the proc")
	f.BoolVar(&verify, "verify", false, "compare what the kernel enforces with the plan, in place of the proc")
	f.BoolVar(&asJSON, "json", false, "with --plan or --verify: print the API's answer")
	cfg.flags(f)
	return cmd
}
