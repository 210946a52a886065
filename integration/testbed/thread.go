package testbed

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// OnThread runs do on an operating system thread that ends with it, so that do
// may change the thread's namespaces. It is never the process's first thread,
// whose namespaces are the process's own in /proc.
func OnThread(do func() error) error {
	result := make(chan error)
	// Owned by OnThread, which waits for result.
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() != unix.Getpid() {
			result <- do()
			return
		}
		err := OnThread(do)
		runtime.UnlockOSThread()
		result <- err
	}()
	return <-result
}
