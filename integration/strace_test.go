//go:build integration

package integration

import (
	"bufio"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// attach has strace(1) look at the daemon, all its threads and what they start, from
// now on until the function is called.
func (d *daemon) attach(t *testing.T, args ...string) (detach func()) {
	t.Helper()
	cmd := exec.Command("strace", append([]string{"--follow-forks", "--attach=" + strconv.Itoa(d.pid())}, args...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	stderr, err := cmd.StderrPipe()
	must(t, err)
	if err := cmd.Start(); err != nil {
		t.Fatalf("%v: make packages", err)
	}
	attached, ended := make(chan struct{}), make(chan struct{})
	var said strings.Builder
	// Ends with strace, which is waited for by detach.
	go func() {
		defer close(ended)
		lines := bufio.NewScanner(stderr)
		for first := true; lines.Scan(); said.WriteString(lines.Text() + "\n") {
			if first && strings.Contains(lines.Text(), "attached") {
				first = false
				close(attached)
			}
		}
	}()
	detach = func() {
		t.Helper()
		must(t, cmd.Process.Signal(syscall.SIGINT)) // it lets go of all of them
		<-ended
		cmd.Wait() // by the signal
	}
	select {
	case <-attached:
	case <-ended:
		t.Fatalf("%s: %v\n%s", cmd, cmd.Wait(), &said)
	}
	return detach
}
