package debian

import (
	"fmt"

	"github.com/moby/profiles/seccomp"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// scriptFilter is the default seccomp profile for a program with these capabilities,
// in which calls that wait for the disk do nothing and succeed: dpkg makes hundreds.
// A tree that a crash interrupts is thrown away, and one that is complete is written
// to the disk as a whole, when it is sealed.
func scriptFilter(capabilities []string) (*specs.LinuxSeccomp, error) {
	profile, err := seccomp.GetDefaultProfile(&specs.Spec{
		Process: &specs.Process{Capabilities: &specs.LinuxCapabilities{Bounding: capabilities}},
	})
	if err != nil {
		return nil, fmt.Errorf("default seccomp profile: %w", err)
	}
	done, unknown := uint(0), uint(unix.EPROTONOSUPPORT) // the errno that the call returns
	profile.Syscalls = append(profile.Syscalls, specs.LinuxSyscall{
		Names: []string{"fsync", "msync", "sync", "sync_file_range", "syncfs"}, Action: specs.ActErrno, ErrnoRet: &done,
	}, specs.LinuxSyscall{
		// useradd(8) goes on where the kernel has no audit, and gives up where it may
		// not use it (audit_open(3)).
		Names: []string{"socket"}, Action: specs.ActErrno, ErrnoRet: &unknown,
		Args: []specs.LinuxSeccompArg{
			{Index: 0, Value: unix.AF_NETLINK, Op: specs.OpEqualTo}, {Index: 2, Value: unix.NETLINK_AUDIT, Op: specs.OpEqualTo},
		},
	})
	return profile, nil
}
