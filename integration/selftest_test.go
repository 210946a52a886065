//go:build integration

package integration

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/gilliam/hypervisor/integration/testbed"
	"github.com/gilliam/hypervisor/isolate/selftest"
	"github.com/gilliam/hypervisor/server/proc"
)

// The selftest of the real binary passes here, on a state folder that has nothing
// in it, or is not there, and leaves that as it was.
func TestSelftest(t *testing.T) {
	testbed.Leaves(t)
	dir := filepath.Join(t.TempDir(), "state")
	r := command(t, "selftest", "--state-dir", dir)
	if r.code != 0 || r.stderr != "" || !strings.Contains(r.stdout, " 0 failed, ") || !strings.Contains(r.stdout, " 0 not run; ") {
		t.Errorf("got %s", r)
	}
	for _, c := range selftest.List() {
		if !strings.Contains(r.stdout, "\n"+c.Name+" ") && !strings.HasPrefix(r.stdout, c.Name+" ") {
			t.Errorf("no line about %s in\n%s", c.Name, r.stdout)
		}
	}
	if _, err := os.Lstat(dir); !os.IsNotExist(err) {
		t.Errorf("it left its state folder: %v", err)
	}
}

func TestSelftestJSON(t *testing.T) {
	testbed.Leaves(t)
	dir := t.TempDir()
	report := jsonOf[selftest.Report](t, command(t, "selftest", "--json", "--state-dir", dir))
	if !report.OK || len(report.Results) != len(selftest.List()) || report.Kernel == "" || report.Cgroup == "" || report.FileSystem == "" || report.Dir != dir {
		t.Errorf("got %+v", report)
	}
	for _, c := range report.Results {
		if c.State != selftest.OK && (c.State != selftest.Missing || c.Note == "") || c.Promise == "" || c.Seconds < 0 {
			t.Errorf("got %+v", c)
		}
	}
	if left, err := os.ReadDir(dir); len(left) > 0 || err != nil {
		t.Errorf("left %v, %v", left, err)
	}
}

// It runs beside a daemon, on the same state folder, and does not share ids with
// its procs.
func TestSelftestBesideDaemon(t *testing.T) {
	d := serve(t)
	p := d.create(proc.Request{Command: proc.Exec("sleep", "1000")})
	testbed.Within(t, patience, "the proc runs", func() bool { return d.get(p.ID).State == proc.Running })
	report := jsonOf[selftest.Report](t, d.cli(t, "selftest", "--json", "--run", "^(ids|read-back|neighbour|nothing-left)$"))
	if !report.OK || len(report.Results) != 4 {
		t.Errorf("got %+v", report)
	}
	if got := d.get(p.ID); got.State != proc.Running {
		t.Errorf("the proc: got %+v", got)
	}
}

func TestSelftestUsage(t *testing.T) {
	dir := t.TempDir()
	matches(t, command(t, "selftest", "--list", "--run", "^kernel$"), 0, `kernel +Linux 5\.19 or newer.*\n`)
	if list := jsonOf[[]selftest.Check](t, command(t, "selftest", "--list", "--json")); len(list) != len(selftest.List()) {
		t.Errorf("--list --json: %d checks", len(list))
	}
	for _, c := range []struct {
		code int
		says string
		args []string
	}{
		{2, "--list prints them all", []string{"--run", "no-such-check"}},
		{2, "must be a regular expression", []string{"--run", "("}},
		{2, "unknown command", []string{"more"}},
	} {
		got := command(t, append([]string{"selftest", "--state-dir", dir}, c.args...)...)
		if got.code != c.code || got.stdout != "" || !strings.Contains(got.stderr, c.says) {
			t.Errorf("%q: got %s", c.args, got)
		}
	}
	cmd := exec.Command(*hypervisor, "selftest", "--state-dir", filepath.Join(dir, "none"))
	cmd.SysProcAttr = testbed.AsUser()
	if got := finish(t, cmd); got.code != 1 || got.stdout != "" || !strings.Contains(got.stderr, "must be run as root: put sudo in front of it") {
		t.Errorf("as a user: got %s", got)
	}
}

// On a file system that cannot carry sandboxes it fails, says what to do, and
// makes no further check.
func TestSelftestFails(t *testing.T) {
	testbed.Leaves(t)
	dir := t.TempDir()
	selftestOnRamfs := func(args ...string) result {
		line := `mount -t ramfs none "$0" && chmod 700 "$0" && exec "$@"`
		cmd := exec.Command("/bin/sh", append([]string{"-c", line, dir, *hypervisor, "selftest", "--state-dir", dir}, args...)...)
		cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS} // whose mounts Go makes private
		return finish(t, cmd)
	}
	r := selftestOnRamfs()
	for _, want := range []string{"\nsandbox           FAILED ", "idmap", "do: put the state folder on ext4", "\nsystem-calls      not run ", ", ramfs at " + dir} {
		if !strings.Contains(r.stdout, want) {
			t.Errorf("no %q", want)
		}
	}
	if r.code != 1 || r.stderr != "" || t.Failed() {
		t.Errorf("got %s", r)
	}
	r = selftestOnRamfs("--json", "--run", "seccomp$")
	var report selftest.Report
	if err := json.Unmarshal([]byte(r.stdout), &report); err != nil || r.code != 1 || report.OK || len(report.Results) != 2 {
		t.Errorf("--json: %v, got %s", err, r)
	}
}

// Ctrl-C ends it at once and leaves nothing; what one has left that was killed is
// removed by the next.
func TestSelftestInterrupted(t *testing.T) {
	for _, c := range []struct {
		signal syscall.Signal
		code   int
		left   int
	}{{syscall.SIGINT, 130, 0}, {syscall.SIGTERM, 130, 0}, {syscall.SIGKILL, -1, 1}} {
		t.Run(c.signal.String(), func(t *testing.T) {
			testbed.Leaves(t)
			dir := t.TempDir()
			cmd := exec.Command(*hypervisor, "selftest", "--state-dir", dir)
			var stderr bytes.Buffer
			cmd.Env, cmd.Stderr = env, &stderr
			must(t, cmd.Start())
			testbed.Within(t, patience, "a sandbox of the selftest", func() bool {
				layers, err := filepath.Glob(filepath.Join(dir, ".selftest-*/layers/selftest-*"))
				return err == nil && len(layers) > 0
			})
			must(t, cmd.Process.Signal(c.signal))
			_ = cmd.Wait() // its status is in ProcessState
			if code := cmd.ProcessState.ExitCode(); code != c.code || strings.Contains(stderr.String(), "DATA RACE") {
				t.Errorf("ended with %v: %s", cmd.ProcessState, &stderr)
			}
			if left, err := os.ReadDir(dir); len(left) != c.left || err != nil {
				t.Errorf("left %v, %v", left, err)
			}
			if c.left == 0 {
				return
			}
			if r := command(t, "selftest", "--state-dir", dir, "--run", "^nothing-left$"); r.code != 0 {
				t.Errorf("the next one: %s", r)
			}
			if left, err := os.ReadDir(dir); len(left) > 0 || err != nil {
				t.Errorf("the next one left %v, %v", left, err)
			}
		})
	}
}
