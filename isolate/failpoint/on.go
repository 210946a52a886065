//go:build failpoints

package failpoint

import (
	"os"
	"syscall"
)

var armed = os.Getenv("GILLIAM_FAILPOINT")

// Hit kills the process if it is to be killed here.
func Hit(name string) {
	if name != armed {
		return
	}
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {} // the signal is on its way
}
