package main

import (
	"io"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/gilliam/hypervisor/isolate/wire"
)

var eof = io.EOF

// start turns this process into PID 1 of the sandbox that s describes, and runs
// the program. It returns the program's pid, or the step that failed.
func start(s *wire.Setup, keep *keeper) (int, *wire.Failed) {
	steps := []struct {
		name string
		do   func(*wire.Setup) error
	}{
		{"reset signals", resetSignals},
		{"become undumpable", undumpable},
		{"unshare cgroup namespace", unshareCgroup},
		{"enter root", enterRoot},
		{"mount proc", mountProc},
		{"limit namespaces", limitUserNamespace},
		{"enter AppArmor profile", enterProfile},
		{"mount cgroup", mountCgroup},
		{"mask paths", maskPaths},
		{"make paths read-only", readOnlyPaths},
		{"pivot root", pivot},
		{"open /dev/null", nullStdin},
		{"set limits", setLimits},
		{"join session keyring", newKeyring},
		{"close descriptors", closeOnExec},
		{"drop capabilities", dropCapabilities},
		{"set no_new_privs", noNewPrivs},
		{"enter landlock domain", scope},
		{"install seccomp filter", installFilter},
	}
	for _, step := range steps {
		if err := step.do(s); err != nil {
			return 0, failure(step.name, err)
		}
	}
	keep.record(wire.KindStarting, nil, true)
	return run(program{args: s.Args, env: s.Env, dir: s.Dir, uid: s.UID, gid: s.GID, caps: ambient(s), files: []uintptr{0, 1, 2}})
}

// A pathError is an error about one path.
type pathError struct {
	path string
	err  error
}

func (e *pathError) Error() string { return e.path }

func failure(step string, err error) *wire.Failed {
	f := &wire.Failed{Step: step}
	if p, ok := err.(*pathError); ok {
		f.Path, err = p.path, p.err
	}
	if errno, ok := err.(unix.Errno); ok {
		f.Errno = uint32(errno)
	}
	return f
}

// resetSignals gives every signal its default action: what the hypervisor was
// told to ignore, the app is not (signal(7): ignored signals stay ignored
// across execve).
//
// Those that Go's runtime ends a program by get theirs as well, which for PID 1 is
// to do nothing, also when the host sends them (pid_namespaces(7)): when the
// machine shuts down, every process of it gets SIGTERM, and what the apps make of
// it is theirs.
func resetSignals(*wire.Setup) error {
	type sigaction struct {
		handler, flags, restorer uintptr
		mask                     uint64
	}
	const sigDfl, sigIgn = 0, 1
	for sig := uintptr(1); sig <= 64; sig++ {
		var old sigaction
		_, _, errno := unix.RawSyscall6(unix.SYS_RT_SIGACTION, sig, 0, uintptr(unsafe.Pointer(&old)), 8, 0, 0)
		ends := unix.Signal(sig) == unix.SIGHUP || unix.Signal(sig) == unix.SIGINT || unix.Signal(sig) == unix.SIGTERM
		if errno != 0 || old.handler != sigIgn && !ends {
			continue
		}
		old = sigaction{handler: sigDfl}
		unix.RawSyscall6(unix.SYS_RT_SIGACTION, sig, uintptr(unsafe.Pointer(&old)), 0, 8, 0, 0)
	}
	return nil
}

// undumpable keeps the sandbox's processes from tracing PID 1 or reading its
// /proc files (prctl(2), PR_SET_DUMPABLE).
func undumpable(*wire.Setup) error {
	return unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0)
}

// unshareCgroup comes only now, when the hypervisor has put this process into
// the sandbox's cgroup, so that this cgroup is the namespace's root.
func unshareCgroup(*wire.Setup) error {
	return unix.Unshare(unix.CLONE_NEWCGROUP)
}

func setLimits(s *wire.Setup) error {
	unix.Umask(int(s.Umask))
	for _, r := range s.Rlimits {
		// syscall.Setrlimit and not unix.Prlimit: only the former keeps ForkExec
		// from putting the old RLIMIT_NOFILE back in the child.
		limit := syscall.Rlimit{Cur: r.Soft, Max: r.Hard}
		if err := syscall.Setrlimit(int(r.Resource), &limit); err != nil {
			return &pathError{rlimitName(r.Resource), err}
		}
	}
	return nil
}

func rlimitName(resource uint32) string {
	switch resource {
	case unix.RLIMIT_NOFILE:
		return "RLIMIT_NOFILE"
	case unix.RLIMIT_CORE:
		return "RLIMIT_CORE"
	case unix.RLIMIT_MEMLOCK:
		return "RLIMIT_MEMLOCK"
	case unix.RLIMIT_NPROC:
		return "RLIMIT_NPROC"
	}
	return "rlimit"
}

// newKeyring gives the sandbox a session keyring of its own (keyrings(7)).
// Kernels without keyrings have nothing to share.
func newKeyring(*wire.Setup) error {
	_, err := unix.KeyctlInt(unix.KEYCTL_JOIN_SESSION_KEYRING, 0, 0, 0, 0)
	if err == unix.ENOSYS {
		return nil
	}
	return err
}

// closeOnExec lets nothing but stdin, stdout and stderr reach the program.
func closeOnExec(*wire.Setup) error {
	return unix.CloseRange(3, ^uint(0)>>32, unix.CLOSE_RANGE_CLOEXEC)
}
