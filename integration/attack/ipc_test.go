//go:build integration

package attack

import (
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/gilliam/hypervisor/integration/testbed"
	"github.com/gilliam/hypervisor/isolate"
	"github.com/gilliam/hypervisor/isolate/selftest/attacks"
)

// meeting is the number under which the host's process offers what two processes
// of one machine share; theirs is the neighbour's.
const (
	meeting = 0x61747461
	theirs  = meeting + 1
)

// T15: neither the host's abstract sockets, System V objects, message queues and
// shared memory nor a neighbour's are within reach, though their modes let
// everyone. Control: another user of the host gets them all.
func TestIPC(t *testing.T) {
	hostMeeting(t)
	neighbour := start(t, testbed.Engine(t), tenant(t, spec(t, "private-ipc", strconv.Itoa(theirs)), 1))
	for name, outcome := range neighbour.report(t).Detail {
		if outcome != "ok" && outcome != "errno 0" {
			t.Fatalf("the neighbour's %s: %s", name, outcome)
		}
	}
	fight(t, []attack{{
		id: "T15", what: "IPC with the host", args: []string{"ipc", strconv.Itoa(meeting)}, want: attacks.IPC, control: asUser,
		blind: map[string]string{"listed mqueue": "the host need not have mqueue mounted"},
	}, {
		id: "T15", what: "IPC with a neighbour", args: []string{"ipc", strconv.Itoa(theirs)}, want: attacks.IPC,
		control: func(t *testing.T, _ []string) report { return asUser(t, []string{"ipc", strconv.Itoa(meeting)}) },
		blind:   map[string]string{"listed mqueue": "the host need not have mqueue mounted"},
	}})

	// A sandbox on the host's network sees its abstract sockets, and nothing else;
	// it reaches them only where Landlock cannot keep it from them.
	s := spec(t, "ipc", strconv.Itoa(meeting))
	s.Network = isolate.NetworkHost
	scoped := testbed.Engine(t).Host().Landlock >= 6
	for name, outcome := range once(t, s).Detail {
		network := name == "abstract socket" && !scoped || name == "listed socket"
		if network != (outcome == "ok") {
			t.Errorf("on the host's network: %s: %s", name, outcome)
		}
	}
}

// hostMeeting makes everything for the meeting on the host, as a user of it.
func hostMeeting(t *testing.T) {
	t.Helper()
	command := func(args ...string) *exec.Cmd {
		cmd := exec.CommandContext(t.Context(), filepath.Join(tools, "probe"), append([]string{"private-ipc", strconv.Itoa(meeting)}, args...)...)
		cmd.SysProcAttr = testbed.AsUser()
		return cmd
	}
	host := command()
	out, err := host.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := host.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 1)); err != nil { // all is made
		t.Fatal(err)
	}
	remove := command("remove")
	remove.Cancel = func() error { return nil } // the test's context ends before its cleanups
	t.Cleanup(func() {
		_ = host.Process.Kill()
		_ = host.Wait()
		cmd := exec.Command(remove.Path, remove.Args[1:]...)
		cmd.SysProcAttr = remove.SysProcAttr
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("remove the host's objects: %v\n%s", err, out)
		}
	})
}
