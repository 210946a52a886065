//go:build integration

package attack

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/gilliam/hypervisor/integration/testbed"
	"github.com/gilliam/hypervisor/isolate/selftest/attacks"
)

// T14: two tenants at once. One kills all that it can and reaches for the other
// and for the host by their numbers; nobody notices. Control: the same attack on
// a process of one's own user, on the host.
func TestProcesses(t *testing.T) {
	e := testbed.Engine(t)
	victim := start(t, e, tenant(t, spec(t, "sleep"), 1))
	victim.report(t)
	children := processes(t, victim.PID())
	if len(children) < 2 {
		t.Fatalf("the victim's processes: %v", children)
	}

	killer := start(t, e, spec(t, "murder"))
	got := killer.report(t).Detail
	for name, want := range map[string]string{
		"kill -1": "ok", "own child": "signal: killed", // so it works
		"kill 1": "EPERM", "stop 1": "EPERM", "parent": "1",
	} {
		if got[name] != want {
			t.Errorf("%s: got %q, want %q", name, got[name], want)
		}
	}
	if exit := killer.ended(t, deadline); exit.Code != 0 {
		t.Errorf("the killer killed itself: %+v", exit)
	}

	targets := append(children, strconv.Itoa(os.Getpid()), strconv.Itoa(os.Getppid()))
	fight(t, []attack{{
		id: "T14", what: "processes of others", args: append([]string{"aliens"}, outside(targets)...),
		want:    attacks.Aliens(outside(targets)),
		control: ownVictim, differs: true, blind: map[string]string{"": "the control attacks a process of its own"},
	}})
	if !victim.alive() {
		t.Error("the neighbour was killed")
	}
}

// outside leaves out numbers that could be a sandbox's own.
func outside(pids []string) []string {
	var all []string
	for _, pid := range pids {
		if n, err := strconv.Atoi(pid); err == nil && n > 50 {
			all = append(all, pid)
		}
	}
	return all
}

// ownVictim attacks a process of the attacker's own user on the host.
func ownVictim(t *testing.T, _ []string) report {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), filepath.Join(tools, "probe"), "sleep")
	cmd.SysProcAttr = testbed.AsUser()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 1)); err != nil { // it runs
		t.Fatal(err)
	}
	pid := strconv.Itoa(cmd.Process.Pid)
	r := asUser(t, []string{"aliens", pid})
	if err := cmd.Wait(); err == nil {
		t.Error("control: the victim lives")
	}
	for _, name := range []string{"see ", "kill 0 ", "pidfd ", "getsid ", "prlimit ", "setpriority ", "affinity ", "robust list ", "read memory ", "attach ", "kill "} {
		if r.Detail[name+pid] != "ok" {
			t.Errorf("control: %s: %s", name, r.Detail[name+pid])
		}
	}
	return r
}

// processes are the host's numbers of a sandbox's processes.
func processes(t *testing.T, init int) []string {
	t.Helper()
	want, err := os.Readlink("/proc/" + strconv.Itoa(init) + "/ns/pid")
	if err != nil {
		t.Fatal(err)
	}
	all, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, path := range all {
		if ns, err := os.Readlink(path + "/ns/pid"); err == nil && ns == want {
			found = append(found, filepath.Base(path))
		}
	}
	return found
}

// T18: PID 1's memory, files and links are closed to the app; those of its own
// children are open, which is the control.
func TestTrace(t *testing.T) {
	pid1 := once(t, spec(t, "trace"))
	verdict := attacks.Trace.Judge(pid1)
	for _, wrong := range verdict.Wrong {
		t.Error(wrong)
	}
	for name, outcome := range once(t, spec(t, "trace", "child")).Detail {
		// "fd/3" is there when the Go runtime has made one; a kernel stack is for
		// the host's root.
		if strings.HasPrefix(name, "child ") && outcome != "ok" && !strings.HasSuffix(name, "fd/3") && name != "child stack" {
			t.Errorf("control: %s: %s", name, outcome)
		}
	}
	t.Logf("T18 look into PID 1: %s, %d tries; control: its own child", pid1.Result, len(verdict.Tries))
}
