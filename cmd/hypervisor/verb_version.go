package main

import (
	"fmt"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/gilliam/hypervisor/server"
)

func (a *app) versionVerb() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "version",
		Short:   "Print the version of this program",
		Example: `  hypervisor version --json`,
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if asJSON {
				return a.printJSON(server.Version{Version: version, Commit: commit, Go: runtime.Version()})
			}
			_, err := fmt.Fprintf(a.stdout, "hypervisor %s (commit %s, %s)\n", version, commit, runtime.Version())
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print it as JSON")
	return cmd
}
