package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/gilliam/hypervisor/server"
	"github.com/gilliam/hypervisor/server/proc"
)

func (a *app) callbacksVerb() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "callbacks",
		Short: "List callbacks that were not delivered, send them again, or remove them",
		Long: `Every change of a proc's state is POSTed to its callback URL, in order, until the
receiver answers 2xx. What is not taken for long (--callback-give-up of serve)
becomes a dead letter: it is sent no more, and stays until somebody retries or
removes it. What was delivered is not listed.`,
		Example: `  sudo hypervisor callbacks ls --state dead
  sudo hypervisor callbacks retry $(sudo hypervisor callbacks ls --quiet --state dead)`,
	}
	cmd.AddCommand(a.callbacksLsVerb(), a.callbacksRetryVerb(), a.callbacksRmVerb())
	return cmd
}

func (a *app) callbacksLsVerb() *cobra.Command {
	var state, procName string
	cmd := &cobra.Command{
		Use:   "ls",
		Short: "List callbacks that were not delivered",
		Example: `  sudo hypervisor callbacks ls
  sudo hypervisor callbacks ls --proc blog/web.1
  sudo hypervisor callbacks ls --state dead --json | jq -r '.callbacks[].last_error'`,
	}
	cmd.Flags().StringVar(&state, "state", "", "only those in `STATE`: pending or dead")
	cmd.Flags().StringVar(&procName, "proc", "", "only those of `PROC`: an id, also of a proc that is gone, the beginning of one, or APP/NAME")
	return listing[server.CallbackList, proc.Callback]{
		get: func(c *client, ctx context.Context) (server.CallbackList, error) {
			return c.callbacks(ctx, state, procName)
		},
		entries: func(l server.CallbackList) []proc.Callback { return l.Callbacks },
		table:   printCallbacks,
		name:    func(cb proc.Callback) string { return cb.ID },
		names:   "ids",
	}.verb(a, cmd)
}

func (a *app) callbacksRetryVerb() *cobra.Command {
	var cfg clientConfig
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "retry ID...",
		Short: "Send callbacks now, dead letters too",
		Long: `Send callbacks now. A dead letter is pending again and has all its time anew; it
arrives after those that went on without it, which its sequence number shows.`,
		Example: `  sudo hypervisor callbacks retry 5f0c8f6e-3a52-4a83-9d57-6f0c34bb9e3b-4`,
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c := newClient(cfg)
			return forEach(args, func(id string) error {
				var cb proc.Callback
				_, err := c.call(cmd.Context(), http.MethodPost, "/v1/callbacks/"+url.PathEscape(id)+"/retry", nil, &cb)
				if err != nil {
					return err
				}
				return a.answer(asJSON, cb, cb.ID)
			})
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print each callback as it is now")
	cfg.flags(cmd.Flags())
	return cmd
}

func (a *app) callbacksRmVerb() *cobra.Command {
	return a.removing("/v1/callbacks/", &cobra.Command{
		Use:   "rm ID...",
		Short: "Remove dead letters",
		Example: `  sudo hypervisor callbacks rm 5f0c8f6e-3a52-4a83-9d57-6f0c34bb9e3b-4
  sudo hypervisor callbacks rm $(sudo hypervisor callbacks ls --quiet --state dead)`,
	})
}

// callbacks lists those that were not delivered.
func (c *client) callbacks(ctx context.Context, state, procName string) (list server.CallbackList, err error) {
	q := url.Values{}
	if state != "" {
		q.Set("state", state)
	}
	if procName != "" {
		id, err := c.find(ctx, procName)
		if err != nil {
			return list, err
		}
		q.Set("proc", id)
	}
	_, err = c.call(ctx, http.MethodGet, strings.TrimSuffix("/v1/callbacks?"+q.Encode(), "?"), nil, &list)
	return list, err
}

// printCallbacks prints a table of callbacks.
func printCallbacks(out io.Writer, callbacks []proc.Callback, now time.Time) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tAPP\tNAME\tTELLS\tSTATE\tAGE\tTRIES\tNEXT\tLAST ERROR")
	for _, c := range callbacks {
		next := "-"
		if c.NextTry != nil {
			next = age(c.NextTry.Sub(now))
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%d\t%s\t%s\n", c.ID, cell(c.App), cell(c.Name), cell(c.ProcState), c.State,
			age(now.Sub(c.Created)), c.Attempts, next, cell(c.LastError))
	}
	return w.Flush()
}
