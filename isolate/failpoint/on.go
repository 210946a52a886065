//go:build failpoints

package failpoint

import (
	"os"
	"syscall"
)

var (
	armed  = os.Getenv("GILLIAM_FAILPOINT")
	faulty = os.Getenv("GILLIAM_PANIC")
)

// Hit kills the process if it is to be killed here, and panics if it is to panic.
func Hit(name string) {
	if name == faulty {
		panic("failpoint " + name)
	}
	if name != armed {
		return
	}
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {} // the signal is on its way
}
