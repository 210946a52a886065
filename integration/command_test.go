//go:build integration

package integration

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"
)

// A result is what a command has written and how it ended.
type result struct {
	stdout, stderr string
	code           int
}

func (r result) String() string {
	return fmt.Sprintf("exit status %d\nstdout: %s\nstderr: %s", r.code, r.stdout, r.stderr)
}

// command runs the hypervisor to its end.
func command(tb testing.TB, args ...string) result {
	tb.Helper()
	return finish(tb, exec.Command(*hypervisor, args...))
}

// cli runs a verb against the daemon.
func (d *daemon) cli(tb testing.TB, verb string, args ...string) result {
	tb.Helper()
	return command(tb, append([]string{verb, "--state-dir", d.stateDir}, args...)...)
}

// finish runs a program to its end, which must be soon.
func finish(tb testing.TB, cmd *exec.Cmd) result {
	tb.Helper()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr, cmd.Env = &stdout, &stderr, env
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	stuck := time.AfterFunc(patience, func() { cmd.Process.Kill() })
	defer stuck.Stop()
	var exit *exec.ExitError
	if err := cmd.Wait(); err != nil && !errors.As(err, &exit) {
		tb.Fatal(err)
	}
	if strings.Contains(stderr.String(), "DATA RACE") {
		tb.Errorf("%s", &stderr)
	}
	return result{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}

// matches fails the test when the status is another one, the whole standard
// output is not what the expression says, or there is an error.
func matches(tb testing.TB, r result, code int, stdout string) {
	tb.Helper()
	if r.code != code || !regexp.MustCompile(`^(?:`+stdout+`)$`).MatchString(r.stdout) || r.stderr != "" {
		tb.Errorf("got %s\nwant exit status %d and %s", r, code, stdout)
	}
}

// jsonOf is the standard output of a command that went well.
func jsonOf[T any](tb testing.TB, r result) (v T) {
	tb.Helper()
	if err := json.Unmarshal([]byte(r.stdout), &v); err != nil || r.code != 0 || r.stderr != "" {
		tb.Errorf("%v: %s", err, r)
	}
	return v
}
