package debian

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"

	"github.com/google/uuid"

	"github.com/gilliam/hypervisor/isolate"
)

// capabilities are what scripts of packages need to be root of the tree, and of
// nothing else: some give programs capabilities instead of a setuid bit.
var capabilities = append([]string{"CAP_SETFCAP"}, isolate.RootCapabilities...)

// environment is what scripts find.
func (j *job) environment() []string {
	return []string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LC_ALL=C", "TERM=dumb",
		"DEBIAN_FRONTEND=noninteractive", "DEBCONF_NONINTERACTIVE_SEEN=true", "DEBCONF_NOWARNINGS=yes",
		// What depends on neither time nor chance is the same again.
		fmt.Sprintf("SOURCE_DATE_EPOCH=%d", j.epoch().Unix()), "PYTHONHASHSEED=0",
	}
}

// spec is how a script runs.
func (j *job) spec(args, env []string) (isolate.Spec, error) {
	profile, err := scriptFilter(capabilities)
	return isolate.Spec{
		ID: uuid.NewString(), Owner: j.Work.dir.Path, Hostname: "localhost", Tree: j.dir,
		Args: args, Env: append(j.environment(), env...), Dir: "/",
		Capabilities: capabilities, Seccomp: profile, IDs: j.Work.ids, Network: isolate.NetworkNone,
		Limits: isolate.Limits{Memory: scriptMemory, Pids: scriptPids},
	}, err
}

const (
	scriptMemory = 2 << 30
	scriptPids   = 1024
	keptLines    = 40 // of a script's output, for an error
)

// A ScriptError is a script that has failed, with the end of what it said.
type ScriptError struct {
	What   string
	Exit   isolate.Exit
	Output string
}

func (e *ScriptError) Error() string {
	how := fmt.Sprintf("exit status %d", e.Exit.Code)
	switch {
	case e.Exit.OOMKilled:
		how = fmt.Sprintf("needed more than %d MiB of memory", scriptMemory>>20)
	case e.Exit.Signal != 0:
		how = isolate.SignalName(e.Exit.Signal)
	case e.Exit.Err != nil:
		how = e.Exit.Err.Error()
	}
	if e.Output == "" {
		return fmt.Sprintf("%s failed: %s", e.What, how)
	}
	return fmt.Sprintf("%s failed: %s; it said\n%s", e.What, how, e.Output)
}

// script runs a program in a sandbox whose root is the tree.
func (j *job) script(ctx context.Context, args, env []string, what string) error {
	spec, err := j.spec(args, env)
	if err != nil {
		return err
	}
	plan, err := isolate.NewPlan(spec, j.Engine.Host())
	if err != nil {
		return err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	box, err := j.Engine.Launch(ctx, plan, isolate.IO{Stdout: w, Stderr: w})
	w.Close()
	if err != nil {
		var exec *isolate.ExecError
		if errors.As(err, &exec) && errors.Is(exec.Err, syscall.ENOEXEC) {
			err = fmt.Errorf("this machine cannot run programs of %s: build on one that can: %w", j.Arch, err)
		}
		return fmt.Errorf("run %s: %w", what, err)
	}
	stop := context.AfterFunc(ctx, box.Kill)
	defer stop()
	tail, err := j.listen(r)
	exit := box.Wait()
	if err := errors.Join(err, box.Destroy()); err != nil {
		return fmt.Errorf("run %s: %w", what, err)
	}
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	if exit.Code != 0 || exit.Err != nil {
		return &ScriptError{what, exit, strings.Join(tail, "\n")}
	}
	return nil
}

// listen reads what a script says until nobody can say more, and returns the last
// lines.
func (j *job) listen(r io.Reader) ([]string, error) {
	var tail []string
	in := bufio.NewReaderSize(r, 4096)
	for {
		b, more, err := in.ReadLine() // a longer line comes in pieces
		if err == io.EOF {
			return tail, nil
		}
		if err != nil {
			return tail, err
		}
		line := strings.ToValidUTF8(string(b), "\ufffd")
		if tail = append(tail, line); len(tail) > keptLines {
			tail = tail[1:]
		}
		if strings.HasPrefix(line, "Setting up ") && !more {
			j.one()
		}
		if j.Log != nil {
			j.Log(line)
		}
	}
}
