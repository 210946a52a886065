package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/spf13/cobra"

	"github.com/gilliam/hypervisor/server"
)

func (a *app) doctorVerb() *cobra.Command {
	var cfg clientConfig
	var repair, asJSON bool
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Find what is wrong with the node, and mend it",
		Long: `Say what of this host makes sandboxes weaker than they could be, and list what
bears our mark and is no proc's: sandboxes, layers, ports, ids, folders, volumes
half made, and what builds of templates have left that were killed. Nothing is
changed without --repair, which removes those; what another hypervisor made is never
touched, nor what somebody works on. The daemon does the same every minute by itself.

The status is 1 when there is something that --repair did not remove.`,
		Example: `  sudo hypervisor doctor
  sudo hypervisor doctor --repair`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			method := http.MethodGet
			if repair {
				method = http.MethodPost
			}
			var found server.Findings
			if _, err := newClient(cfg).call(cmd.Context(), method, "/v1/doctor", nil, &found); err != nil {
				return err
			}
			if asJSON {
				if err := a.printJSON(found); err != nil {
					return err
				}
			} else {
				printFindings(a.stdout, found, repair)
			}
			if left := leaksLeft(found, repair); left > 0 {
				return fmt.Errorf("%d resources are nobody's: see --repair", left)
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.BoolVar(&repair, "repair", false, "remove what is nobody's")
	f.BoolVar(&asJSON, "json", false, "print the API's answer")
	cfg.flags(f)
	return cmd
}

// leaksLeft is how many leaks are still there.
func leaksLeft(f server.Findings, repaired bool) (left int) {
	for _, l := range f.Leaks {
		if !repaired || l.Error != "" {
			left++
		}
	}
	return left
}

func printFindings(out io.Writer, f server.Findings, repaired bool) {
	for _, r := range f.Remarks {
		fmt.Fprintf(out, "remark  %s\n", r)
	}
	for _, l := range f.Leaks {
		what := "leak"
		switch {
		case l.Error != "":
			what = "stuck"
		case repaired:
			what = "removed"
		}
		fmt.Fprintf(out, "%-7s %s %s", what, l.Kind, cell(l.Name))
		if l.Error != "" {
			fmt.Fprintf(out, ": %s", cell(l.Error))
		}
		fmt.Fprintln(out)
	}
	if len(f.Leaks) == 0 {
		fmt.Fprintln(out, "ok      nothing is left behind")
	}
}

func (a *app) drainVerb() *cobra.Command {
	var cfg clientConfig
	var undo bool
	cmd := &cobra.Command{
		Use:   "drain",
		Short: "Stop every proc and take no new ones",
		Long: `Refuse new procs, stop all that there are, the youngest first, each with its own
grace, and wait until they have ended. The daemon goes on; --undo, or its next
start, takes procs again.`,
		Example: `  sudo hypervisor drain && sudo systemctl stop hypervisor
  sudo hypervisor drain --undo`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			method := http.MethodPost
			if undo {
				method = http.MethodDelete
			}
			_, err := newClient(cfg).call(cmd.Context(), method, "/v1/drain", nil, nil)
			if cmd.Context().Err() != nil {
				return errors.New("not waiting any longer: the procs are being stopped all the same")
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&undo, "undo", false, "take procs again")
	cfg.flags(cmd.Flags())
	return cmd
}
