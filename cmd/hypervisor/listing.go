package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
)

// A listing is what a verb prints that lists the entries E of an answer A.
type listing[A, E any] struct {
	get     func(*client, context.Context) (A, error)
	entries func(A) []E
	table   func(io.Writer, []E, time.Time) error

	// name is what --quiet prints of an entry, and names says so in its help.
	// Nil means that there is no such flag.
	name  func(E) string
	names string
}

// verb completes cmd, which has the words and the flags that are its own.
func (l listing[A, E]) verb(a *app, cmd *cobra.Command) *cobra.Command {
	var cfg clientConfig
	var asJSON, quiet bool
	cmd.Args = cobra.NoArgs
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		list, err := l.get(newClient(cfg), cmd.Context())
		switch {
		case err != nil:
			return err
		case asJSON:
			return a.printJSON(list)
		case quiet:
			for _, e := range l.entries(list) {
				fmt.Fprintln(a.stdout, l.name(e))
			}
			return nil
		}
		return l.table(a.stdout, l.entries(list), time.Now())
	}
	f := cmd.Flags()
	f.BoolVar(&asJSON, "json", false, "print the API's answer")
	if l.name != nil {
		f.BoolVarP(&quiet, "quiet", "q", false, "print "+l.names+" and nothing else")
	}
	cfg.flags(f)
	return cmd
}
