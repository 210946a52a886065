//go:build integration

package attack

import (
	"bufio"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"github.com/gilliam/hypervisor/integration/testbed"
	"github.com/gilliam/hypervisor/isolate"
)

// T64: what one tenant takes of what the kernel counts by user, another still
// has. Control: two processes of one user of the host. What is counted for the
// machine is known to be shared: the row says so, and tells when it is no more.
func TestQuotas(t *testing.T) {
	e := testbed.Engine(t)
	for _, c := range []struct {
		kind  string
		least int    // that the first tenant gets
		known string // why the second gets none
		blind string // why there is no control
	}{
		{kind: "pipes", least: 30},
		{kind: "signals", least: 1000},
		{kind: "processes", least: 80},
		{kind: "terminals", least: 16, blind: "it would take the host's own"},
		{kind: "mqueue", least: 2},
		{kind: "inotify", least: 8, known: "fs.inotify.max_user_instances counts all user namespaces of the daemon together"},
	} {
		t.Run(c.kind, func(t *testing.T) {
			take := func(n uint32) (*box, int) {
				s := tenant(t, spec(t, "quota", c.kind), n)
				s.Limits.Memory = isolate.DefaultMemory
				b := start(t, e, s, roomy)
				return b, got(t, b.report(t))
			}
			first, full := take(0)
			second, apart := take(1)
			second.end(t)
			first.end(t)
			shared := apart < full*9/10
			switch {
			case full < c.least:
				t.Errorf("the first tenant gets %d", full)
			case shared && c.known == "":
				t.Errorf("beside another tenant %d, alone %d", apart, full)
			case shared:
				t.Logf("KNOWN: T64 %s: the first tenant gets %d, the second %d: %s", c.kind, full, apart, c.known)
			case c.known != "":
				t.Logf("T64 %s: no longer shared: %d and %d", c.kind, full, apart)
			}
			if c.blind != "" {
				t.Logf("T64 %s: %d and %d; no control: %s", c.kind, full, apart, c.blind)
				return
			}
			one, alone := takeOnHost(t, c.kind)
			two, beside := takeOnHost(t, c.kind)
			for _, cmd := range []*exec.Cmd{one, two} {
				_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // with its children
				_ = cmd.Wait()
			}
			if beside >= alone*9/10 {
				t.Errorf("control: %d and %d", alone, beside)
			}
			t.Logf("T64 %s: %d and %d; control: %d and %d", c.kind, full, apart, alone, beside)
		})
	}
}

// roomy leaves only the limits that count for a user.
func roomy(p *isolate.Plan) { p.Cgroup.Pids *= 4 }

func got(t *testing.T, r report) int {
	t.Helper()
	n, err := strconv.Atoi(r.Detail["got"])
	if err != nil || r.Detail["stopped by"] == "ok" {
		t.Fatalf("%v", r)
	}
	return n
}

// takeOnHost takes all that a user of the host can get, and keeps it.
func takeOnHost(t *testing.T, kind string) (*exec.Cmd, int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), filepath.Join(tools, "probe"), "quota", kind)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: testbed.Other, Gid: testbed.Other}, Setpgid: true, Cloneflags: syscall.CLONE_NEWIPC}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadBytes('\n')
	if err != nil {
		t.Fatal(err)
	}
	return cmd, got(t, decode(t, line))
}
