package isolate

import (
	"runtime"

	"golang.org/x/sys/unix"

	"github.com/gilliam/hypervisor/isolate/safely"
)

// onThread runs f on an operating system thread of its own, which ends with f:
// whatever f did to the thread's namespaces is gone when onThread returns, but
// for what f's child processes hold. A panic of f is returned as an error.
//
// f never runs on the process's first thread. That thread cannot end, and its
// namespaces are what /proc/<pid>/ns and /proc/<pid>/mountinfo show.
func onThread(f func() error) error {
	result := make(chan error, 1)
	// Owned by onThread, which waits for result.
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with this goroutine
		if unix.Gettid() != unix.Getpid() {
			result <- safely.Do(f)
			return
		}
		// While this goroutine holds the first thread, another one cannot get it.
		err := onThread(f)
		runtime.UnlockOSThread()
		result <- err
	}()
	return <-result
}
