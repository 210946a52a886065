package proc

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"slices"
	"syscall"
	"testing"

	"github.com/gilliam/hypervisor/isolate"
)

// What the host has too little of is told from what is wrong with a proc.
func TestShortage(t *testing.T) {
	dial := func(errno syscall.Errno) error {
		return &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("socket", errno)}
	}
	for _, c := range []struct {
		err  error
		kind string
	}{
		{nil, ""},
		{errors.New("exit status 1"), ""},
		{fmt.Errorf("write record: %w", &fs.PathError{Op: "write", Path: "/x", Err: syscall.ENOSPC}), "disk"},
		{&fs.PathError{Op: "mkdir", Path: "/x", Err: syscall.EDQUOT}, "disk"},
		{&fs.PathError{Op: "open", Path: "/x", Err: syscall.EROFS}, "read-only"},
		{unwritable(&fs.PathError{Op: "mkdir", Path: "/x", Err: syscall.EPERM}), "read-only"},
		{&fs.PathError{Op: "open", Path: "/etc/shadow", Err: syscall.EACCES}, ""},
		{fmt.Errorf("write record: %w", &fs.PathError{Op: "sync", Path: "/x", Err: syscall.EIO}), "io"},
		{dial(syscall.EMFILE), "files"},
		{dial(syscall.ENFILE), "files"},
		{dial(syscall.ECONNREFUSED), ""},
		{&isolate.StepError{Step: "mount", Err: syscall.ENOMEM}, "memory"},
		{dial(syscall.ENOBUFS), "memory"},
		{&isolate.StepError{Step: "start sandbox-init", Err: syscall.EAGAIN}, "pids"},
		{&isolate.ExecError{Path: "/bin/true", Err: syscall.EAGAIN}, ""}, // its own limit
		{&isolate.ExecError{Path: "/bin/true", Err: syscall.ENOMEM}, ""},
	} {
		if got := shortage(c.err); got != c.kind || got != "" && !slices.Contains(PressureKinds, got) {
			t.Errorf("%v: got %q, want %q", c.err, got, c.kind)
		}
	}
}
