package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gilliam/hypervisor/isolate"
	"github.com/gilliam/hypervisor/isolate/selftest"
	"github.com/gilliam/hypervisor/server/proc"
)

// A selftestConfig is what selftest may be told.
type selftestConfig struct {
	stateDir, runDir string
	run              *regexp.Regexp // nil: all
	list, json       bool
}

func (a *app) selftestVerb() *cobra.Command {
	var cfg selftestConfig
	cmd := &cobra.Command{
		Use:   "selftest",
		Short: "Prove that sandboxes hold on this machine",
		Long: `Launch sandboxes on this kernel and on the file system of the state folder, let
a program in them try what an app must not be able to do, and say what came of
it. It takes some seconds, needs neither a daemon nor a template nor a network,
may run beside a daemon, and leaves nothing behind.

The status is 1 when a check has failed, and each tells what to do. A check is
missing when this machine lacks what it is about, and says what follows.`,
		Example: `  sudo hypervisor selftest
  sudo hypervisor selftest --state-dir /srv/gilliam      # another file system
  sudo hypervisor selftest --run 'seccomp|system-calls'
  sudo hypervisor selftest --json | jq -r '.results[] | select(.state != "ok") | .name'`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if cfg.list {
				return a.listChecks(&cfg)
			}
			return a.selftest(cmd.Context(), &cfg)
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	add(f, &cfg.stateDir, "state-dir", defaultStateDir, "DIR", "state folder, whose file system is tested", parsePath)
	add(f, &cfg.runDir, "run-dir", defaultRunDir, "DIR", "where hypervisors on this machine share out ids", parsePath)
	add(f, &cfg.run, "run", "", "REGEXP", "only checks whose names match, and what every sandbox needs", parseRegexp)
	f.BoolVar(&cfg.list, "list", false, "print the checks and make none")
	f.BoolVar(&cfg.json, "json", false, "print the report as JSON")
	twin(f, "state-dir", "GILLIAM_STATE_DIR")
	twin(f, "run-dir", "GILLIAM_RUN_DIR")
	return cmd
}

// listChecks prints names and promises.
func (a *app) listChecks(cfg *selftestConfig) error {
	list := []selftest.Check{}
	for _, c := range selftest.List() {
		if cfg.run == nil || cfg.run.MatchString(c.Name) {
			list = append(list, c)
		}
	}
	if cfg.json {
		return a.printJSON(list)
	}
	for _, c := range list {
		if _, err := fmt.Fprintf(a.stdout, "%-*s  %s\n", nameWidth(), c.Name, c.Promise); err != nil {
			return err
		}
	}
	return nil
}

// selftest makes the checks and prints what came of them, each as soon as it is
// there.
func (a *app) selftest(ctx context.Context, cfg *selftestConfig) error {
	if err := a.check(); err != nil {
		return err
	}
	if _, err := os.Stat(cfg.stateDir); errors.Is(err, os.ErrNotExist) {
		defer os.Remove(cfg.stateDir) // made for the test alone
	}
	if err := makeStateDir(cfg.stateDir); err != nil {
		return err
	}
	o := selftest.Options{Dir: cfg.stateDir, Run: cfg.run}
	o.Lease = func(dir string, count int) ([]isolate.IDRange, func() error, error) {
		return proc.LeaseIDs(cfg.runDir, dir, count)
	}
	if !cfg.json {
		o.Each = func(r selftest.Result) { printResult(a.stdout, r) }
	}
	report, err := selftest.Run(ctx, o)
	if err != nil {
		return fmt.Errorf("selftest: %w", err)
	}
	if len(report.Results) == 0 {
		return usagef("--run: no check has such a name; --list prints them all")
	}
	if cfg.json {
		err = a.printJSON(report)
	} else {
		printSummary(a.stdout, report)
	}
	if err == nil && !report.OK {
		err = &exitError{code: exitFailed}
	}
	return err
}

// nameWidth is the width of the column of names.
func nameWidth() int {
	width := 0
	for _, c := range selftest.List() {
		width = max(width, len(c.Name))
	}
	return width
}

// printResult prints one row, and below it what a person needs to know more.
func printResult(w io.Writer, r selftest.Result) {
	state := string(r.State)
	if r.State == selftest.Failed {
		state = "FAILED"
	}
	fmt.Fprintf(w, "%-*s  %-7s  %s\n", nameWidth(), r.Name, state, r.Promise)
	indent := strings.Repeat(" ", nameWidth()+2)
	const most = 10
	for i, text := range r.Found {
		if i == most {
			fmt.Fprintf(w, "%sand %d more: see --json\n", indent, len(r.Found)-most)
			break
		}
		fmt.Fprintf(w, "%sfound: %s\n", indent, printable(text))
	}
	if r.Remedy != "" {
		fmt.Fprintf(w, "%sdo: %s\n", indent, r.Remedy)
	}
	if r.Note != "" && r.State != selftest.OK {
		fmt.Fprintf(w, "%s%s\n", indent, r.Note)
	}
}

// printSummary prints the end of the table.
func printSummary(w io.Writer, r selftest.Report) {
	count := map[selftest.State]int{}
	for _, result := range r.Results {
		count[result.State]++
	}
	for _, remark := range r.Remarks {
		fmt.Fprintf(w, "%-*s  %-7s  %s\n", nameWidth(), remark.About, "remark", remark.Text)
	}
	fmt.Fprintf(w, "\nLinux %s on %s, cgroup %s, %s at %s: %d ok, %d failed, %d missing, %d not run; %d tries in %.1f s\n",
		r.Kernel, r.Arch, r.Cgroup, r.FileSystem, r.Dir,
		count[selftest.OK], count[selftest.Failed], count[selftest.Missing], count[selftest.NotRun], r.Tries, r.Seconds)
}
