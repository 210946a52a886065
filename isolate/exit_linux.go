package isolate

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gilliam/hypervisor/isolate/wire"
)

// conclude says how the program ended by what was reported of it, or else by how
// sandbox-init ended.
func (e *Exit) conclude(exited wire.Exited, reported bool, state *os.ProcessState, err error) {
	switch {
	case reported:
		e.set(syscall.WaitStatus(exited.Status))
		if at := time.Unix(0, exited.Time); at.Before(e.At) {
			e.At = at
		}
	case err != nil:
		e.Code, e.Err = 255, fmt.Errorf("wait for sandbox-init: %w", err)
	default:
		// Whatever ended PID 1 has ended the program with SIGKILL, as the OOM killer
		// does where the kernel kills the whole cgroup.
		e.Signal, e.Code = int(syscall.SIGKILL), 128+int(syscall.SIGKILL)
		if !e.OOMKilled {
			e.Err = errors.New("sandbox-init was killed, and the program with it")
			if state != nil {
				e.Err = fmt.Errorf("sandbox-init ended without a report (%v)", state)
			}
		}
	}
}

// set takes over a wait status (wait(2)).
func (e *Exit) set(status syscall.WaitStatus) {
	switch {
	case status.Signaled():
		e.Signal = int(status.Signal())
		e.Code = 128 + e.Signal
	case status.Exited():
		e.Code = status.ExitStatus()
	}
}

func validStatus(n uint32) bool {
	status := syscall.WaitStatus(n)
	return status.Exited() || status.Signaled()
}

// SignalName is the name of a signal, as SIGTERM.
func SignalName(n int) string {
	if name := unix.SignalName(syscall.Signal(n)); name != "" {
		return name
	}
	return fmt.Sprintf("SIG%d", n)
}
