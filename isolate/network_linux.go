package isolate

import (
	"errors"
	"os"
	"runtime"

	"golang.org/x/sys/unix"

	"github.com/gilliam/hypervisor/isolate/safely"
)

// newNetwork makes a network namespace that the host's root owns, turns on its
// loopback, and opens it; nil stands for the host's own. It takes the kernel
// nearly as long as the sandbox's root does, so the launch thread does not do it
// itself: it enters when it comes to sysfs, which shows the namespace.
//
// It is called on a goroutine of its own: one whose thread does not find back from
// the namespace ends, and the thread with it.
func newNetwork(n Network) (ns *os.File, err error) {
	if n == NetworkHost {
		return nil, nil
	}
	err = andBack(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return &StepError{"unshare net", err}
		}
		if err := loopbackUp(); err != nil {
			return &StepError{"bring loopback up", err}
		}
		ns, err = os.Open("/proc/thread-self/ns/net")
		return err
	})
	return ns, err
}

// andBack runs f, which leaves the thread in another network namespace, and brings
// it back: to end the thread and make another one takes longer.
func andBack(f func() error) error {
	runtime.LockOSThread()              // and unlocked when it is back
	if unix.Gettid() == unix.Getpid() { // whose namespaces /proc/<pid> shows
		runtime.UnlockOSThread()
		return onThread(f)
	}
	home, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		runtime.UnlockOSThread()
		return err
	}
	defer home.Close()
	err = safely.Do(f)
	if back := enterNetwork(home); back != nil {
		return errors.Join(err, back)
	}
	runtime.UnlockOSThread()
	return err
}

// enterNetwork puts the thread into a network namespace.
func enterNetwork(ns *os.File) error {
	if ns == nil {
		return nil
	}
	if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
		return &StepError{"enter network namespace", err}
	}
	return nil
}

// loopbackUp turns on lo in the thread's network namespace (netdevice(7)).
func loopbackUp() error {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(s)
	ifreq, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	ifreq.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	return unix.IoctlIfreq(s, unix.SIOCSIFFLAGS, ifreq)
}
