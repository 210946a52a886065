package isolate

import (
	"os/exec"
	"syscall"
	"testing"

	"github.com/opencontainers/cgroups"
)

// A listing is a cgroup of v1 that has other processes each time that they are listed.
type listing struct {
	cgroups.Manager
	lists [][]int
}

func (l *listing) Path(string) string { return "" }

func (l *listing) GetAllPids() ([]int, error) {
	if len(l.lists) == 0 {
		return nil, nil
	}
	first := l.lists[0]
	l.lists = l.lists[1:]
	return first, nil
}

// Who has the number of a process that was in the cgroup, and is not in it, is let
// alone.
func TestKillListed(t *testing.T) {
	start := func() *exec.Cmd {
		cmd := exec.Command("sleep", "1000")
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		return cmd
	}
	tenant, innocent := start(), start()
	const last = syscall.Signal(64) // of all that are pending the kernel delivers it last (signal(7))
	killCgroup(&listing{lists: [][]int{{tenant.Process.Pid, innocent.Process.Pid}, {tenant.Process.Pid}}}, false)
	if err := innocent.Process.Signal(last); err != nil {
		t.Error(err)
	}
	for cmd, want := range map[*exec.Cmd]syscall.Signal{tenant: syscall.SIGKILL, innocent: last} {
		cmd.Wait() // by a signal
		if got := cmd.ProcessState.Sys().(syscall.WaitStatus).Signal(); got != want {
			t.Errorf("of %v %v has ended by %v, want %v", []int{tenant.Process.Pid, innocent.Process.Pid}, cmd.Process.Pid, got, want)
		}
	}
}
