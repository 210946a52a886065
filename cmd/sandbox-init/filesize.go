package main

import (
	"golang.org/x/sys/unix"

	"github.com/gilliam/hypervisor/isolate/wire"
)

// fileSize is the limit of the size of files, or nil. PID 1 must not have it: it
// writes the log, which may be larger, and a process that goes beyond gets SIGXFSZ.
func fileSize(s *wire.Setup) *unix.Rlimit {
	for _, r := range s.Rlimits {
		if r.Resource == unix.RLIMIT_FSIZE {
			return &unix.Rlimit{Cur: r.Soft, Max: r.Hard}
		}
	}
	return nil
}

// underFileSize calls fork with the limit as this process's soft one, which the
// child inherits, and then makes it the child's hard one. Nothing is written
// meanwhile: it is this thread that writes.
func underFileSize(limit *unix.Rlimit, fork func() (int, error)) (int, error) {
	if limit == nil {
		return fork()
	}
	var own unix.Rlimit
	if err := unix.Prlimit(0, unix.RLIMIT_FSIZE, nil, &own); err != nil {
		return 0, err
	}
	if err := unix.Prlimit(0, unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: min(limit.Cur, own.Max), Max: own.Max}, nil); err != nil {
		return 0, err
	}
	pid, err := fork()
	if back := unix.Prlimit(0, unix.RLIMIT_FSIZE, &own, nil); err == nil {
		err = back
	}
	if err != nil {
		return pid, err
	}
	if err := unix.Prlimit(pid, unix.RLIMIT_FSIZE, limit, nil); err != nil && err != unix.ESRCH {
		_ = unix.Kill(pid, unix.SIGKILL)
		return 0, err
	}
	return pid, nil
}
