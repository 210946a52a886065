//go:build integration

package attack

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/gilliam/hypervisor/integration/testbed"
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
		id: "T14", what: "processes of others", args: append([]string{"aliens"}, outside(targets)...), errno: "ESRCH",
		want:    aliensWant(targets),
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

func aliensWant(pids []string) map[string]string {
	want := map[string]string{"seen": "2"} // PID 1 and itself
	for _, pid := range outside(pids) {
		want["see "+pid] = "ENOENT"
	}
	return want
}

// ownVictim attacks a process of the attacker's own user on the host.
func ownVictim(t *testing.T, _ []string) report {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), filepath.Join(tools, "probe"), "sleep")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: other, Gid: other}}
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
	got := once(t, spec(t, "trace"))
	tries := 0
	for name, outcome := range got.Detail {
		switch {
		case strings.HasPrefix(name, "child "):
			// "fd/3" is there when the Go runtime has made one; a kernel stack is for
			// the host's root.
			if outcome != "ok" && !strings.HasSuffix(name, "fd/3") && name != "child stack" {
				t.Errorf("control: %s: %s", name, outcome)
			}
		case outcome != "EPERM" && outcome != "EACCES":
			// Files that anyone may open show nothing of a process that is not
			// dumpable.
			t.Errorf("%s: %s", name, outcome)
		default:
			tries++
		}
	}
	t.Logf("T18 look into PID 1: %s, %d tries; control: its own child", got.Result, tries)
}
