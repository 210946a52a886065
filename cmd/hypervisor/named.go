package main

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"github.com/spf13/cobra"
)

// forEach does something to everything that is named, and goes on after an
// error.
func forEach(names []string, do func(name string) error) error {
	var errs []error
	for _, name := range names {
		if err := do(name); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", name, err))
		}
	}
	return errors.Join(errs...)
}

// removing completes cmd, which removes what it is given the names of from the API's
// path, and goes on after an error.
func (a *app) removing(path string, cmd *cobra.Command) *cobra.Command {
	var cfg clientConfig
	cmd.Args = cobra.MinimumNArgs(1)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c := newClient(cfg)
		return forEach(args, func(name string) error {
			if _, err := c.call(cmd.Context(), http.MethodDelete, path+url.PathEscape(name), nil, nil); err != nil {
				return err
			}
			fmt.Fprintln(a.stdout, name)
			return nil
		})
	}
	cfg.flags(cmd.Flags())
	return cmd
}
