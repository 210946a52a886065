package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// Exit statuses; see the package's doc.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitNoProc      = 125
	exitInterrupted = 130
)

// An app is one run of the program.
type app struct {
	env            map[string]string
	stdin          io.Reader
	stdout, stderr io.Writer

	// What only the real program does; tests put fakes here.
	check     func() error // that this user may serve
	open      opener
	adopt     adopter
	imports   importer
	build     builder
	install   builder
	readyTime time.Duration // how long demo waits for the sample app
}

// run is the program: it does what args say and returns the exit status.
func run(ctx context.Context, args, env []string, stdin io.Reader, stdout, stderr io.Writer) int {
	a := &app{
		env: environ(env), stdin: stdin, stdout: stdout, stderr: stderr,
		check: mustBeRoot, open: openNode, adopt: adoptTemplate, imports: importTemplate, build: buildTemplate, install: installPackages, readyTime: time.Minute,
	}
	return a.run(ctx, args)
}

func environ(env []string) map[string]string {
	m := map[string]string{}
	for _, kv := range env {
		k, v, _ := strings.Cut(kv, "=")
		m[k] = v
	}
	return m
}

func mustBeRoot() error {
	if os.Geteuid() != 0 {
		return errors.New("must be run as root: put sudo in front of it")
	}
	return nil
}

// run does what args say. Every error that comes before a verb has begun is one
// of usage.
func (a *app) run(ctx context.Context, args []string) int {
	began := false
	root := a.root()
	root.SetArgs(args)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	root.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error {
		if err := a.fromEnv(cmd.Flags()); err != nil {
			return err
		}
		began = true
		return nil
	}
	cmd, err := root.ExecuteContextC(ctx)
	var exit *exitError
	var usage *usageError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &exit):
		if exit.err != nil {
			fmt.Fprintf(a.stderr, "hypervisor: %v\n", exit.err)
		}
		return exit.code
	case !began || errors.As(err, &usage):
		fmt.Fprintf(a.stderr, "hypervisor: %v\nTry '%s --help'.\n", err, cmd.CommandPath())
		return exitUsage
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		return exitInterrupted
	}
	fmt.Fprintf(a.stderr, "hypervisor: %v\n", err)
	return exitFailed
}

// An exitError ends the program with a status of its own, and silently when
// err is nil.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string { return fmt.Sprintf("exit %d: %v", e.code, e.err) }
func (e *exitError) Unwrap() error { return e.err }

// A usageError is a mistake on the command line.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error {
	return &usageError{fmt.Errorf(format, args...)}
}

// root is the command that holds the verbs.
func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "hypervisor",
		Short: "Run apps in sandboxes on this machine",
		Long: `The Gilliam Hypervisor runs apps in sandboxes on this machine and is driven by
a REST API. One daemon (serve) does the work; the other verbs ask it.`,
		Example: `  sudo hypervisor demo                     # daemon and sample app, to look at
  sudo hypervisor serve                    # the daemon
  sudo hypervisor run -- /bin/echo hello   # run something and see its output
  sudo hypervisor ps                       # what runs`,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	root.AddCommand(a.serveVerb(), a.demoVerb(), a.runVerb(), a.psVerb(), a.logsVerb(), a.stopVerb(), a.rmVerb(),
		a.inspectVerb(), a.callbacksVerb(), a.doctorVerb(), a.drainVerb(), a.templateVerb(), a.imageVerb(), a.volumeVerb(), a.unitVerb(), a.selftestVerb(), a.versionVerb())
	return root
}
