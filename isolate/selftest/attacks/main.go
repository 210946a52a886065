package attacks

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// All are the attacks that both probes know, by name.
func All() map[string]Func {
	return map[string]Func{
		"aliens":      aliens,
		"calls":       calls,
		"cgroups":     cgroups,
		"descriptors": descriptors,
		"devices":     devices,
		"environment": environment,
		"escape":      escape,
		"files":       files,
		"fill":        fill,
		"filters":     filters,
		"full":        full,
		"forkbomb":    forkbomb,
		"identity":    identity,
		"ipc":         ipc,
		"knobs":       knobs,
		"masks":       masks,
		"namespaces":  namespaces,
		"overwrite":   overwrite,
		"private-ipc": privateIPC,
		"privileges":  privileges,
		"read":        read,
		"remounts":    remounts,
		"setuid":      setuid,
		"sleep":       sleep,
		"sockets":     sockets,
		"stubborn":    stubborn,
		"terminal":    terminal,
		"trace":       trace,
	}
}

// Main is a probe: its first argument names one of the attacks, and the others
// are the attack's. With -fresh before the name it first mounts a /proc and a
// /tmp of its own, for controls that run in new pid and mount namespaces.
//
// Callers have locked the first thread, by runtime.LockOSThread in an init: what
// attacks change belongs to a thread, and /proc/self tells of the first one.
func Main(all map[string]Func) {
	args := os.Args[1:]
	if len(args) > 0 && args[0] == "-fresh" {
		if err := fresh(); err != nil {
			Fatal(err)
		}
		args = args[1:]
	}
	if len(args) == 0 || all[args[0]] == nil {
		Fatal(errors.New("usage: probe [-fresh] attack [argument …]"))
	}
	r := &Report{Attack: args[0], Result: "refused", Detail: map[string]string{}}
	all[args[0]](r, args[1:])
	r.Print()
}

// fresh mounts what a control must not share with the host.
func fresh() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	for target, fs := range map[string]string{"/proc": "proc", "/tmp": "tmpfs"} {
		if err := unix.Mount(fs, target, fs, 0, ""); err != nil {
			return fmt.Errorf("mount %s: %w", target, err)
		}
	}
	return os.Setenv("TMPDIR", "/tmp")
}

// Call is one system call.
func Call(number uintptr, args ...uintptr) error {
	var a [6]uintptr
	copy(a[:], args)
	if _, _, errno := unix.Syscall6(number, a[0], a[1], a[2], a[3], a[4], a[5]); errno != 0 {
		return errno
	}
	return nil
}

// Open tries to open a path and closes it again.
func Open(path string, flags int) error {
	fd, err := unix.Open(path, flags|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	return unix.Close(fd)
}

// Rest waits until the probe is killed.
func Rest() {
	for {
		_, _ = unix.Ppoll(nil, nil, nil)
	}
}

// sleep is a process for others to attack.
func sleep(r *Report, _ []string) {
	r.Print()
	Rest()
}

// Fatal ends a probe that cannot go on.
func Fatal(err error) {
	fmt.Fprintln(os.Stderr, "probe:", err)
	os.Exit(2)
}
