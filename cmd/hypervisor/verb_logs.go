package main

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/spf13/cobra"
)

func (a *app) logsVerb() *cobra.Command {
	var cfg clientConfig
	var q logQuery
	var times, asJSON bool
	cmd := &cobra.Command{
		Use:   "logs PROC",
		Short: "Print what a proc has written",
		Long: `Print what a proc has written, its standard output to ours and its standard
error to ours. It is named by its id, the beginning of it, or APP/NAME.

The newest output is kept, up to a limit. Where bytes are missing, because there
was more than that or the app wrote faster than it may, a line such as
[123 bytes not kept] says how many; with --json it is an object with "lost".`,
		Example: `  sudo hypervisor logs --tail 20 blog/web.1
  sudo hypervisor logs -f blog/web.1        # until the proc ends, or Ctrl-C
  sudo hypervisor logs --since 10m blog/web.1
  sudo hypervisor logs --json blog/web.1    # {"time":…,"stream":"stdout","text":…}`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c := newClient(cfg)
			id, err := c.find(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			show := printTo(a.stdout, a.stderr)
			switch {
			case asJSON:
				show = jsonTo(a.stdout)
			case times:
				show = timesTo(a.stdout, a.stderr)
			}
			return c.logs(cmd.Context(), id, q, show)
		},
	}
	f := cmd.Flags()
	f.BoolVarP(&q.follow, "follow", "f", false, "go on until the proc has ended")
	add(f, &q.tail, "tail", "", "N", "begin this many lines before the end (default all)", parseTail)
	add(f, &q.since, "since", "", "TIME", "only lines from TIME on: how long ago, such as 10m, or 2026-01-02T15:04:05Z", parseSince)
	f.BoolVarP(&times, "timestamps", "t", false, "put the time before each line")
	f.BoolVar(&asJSON, "json", false, "print each line as a JSON object")
	cfg.flags(f)
	return cmd
}

// timesTo is printTo with the time before each line that begins.
func timesTo(stdout, stderr io.Writer) func(logLine) error {
	show := printTo(stdout, stderr)
	goesOn := map[string]bool{}
	return func(l logLine) error {
		if !goesOn[l.Stream] {
			if _, err := fmt.Fprint(l.to(stdout, stderr), l.Time.UTC().Format("2006-01-02T15:04:05.000000Z ")); err != nil {
				return err
			}
		}
		goesOn[l.Stream] = l.Partial
		return show(l)
	}
}

func jsonTo(w io.Writer) func(logLine) error {
	enc := json.NewEncoder(w)
	return func(l logLine) error { return enc.Encode(l) }
}
