package debian

import (
	"fmt"

	"github.com/moby/profiles/seccomp"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// withoutSync is the default seccomp profile for a program with these capabilities,
// in which calls that wait for the disk do nothing and succeed: dpkg makes hundreds.
// A tree that a crash interrupts is thrown away, and one that is complete is written
// to the disk as a whole, when it is sealed.
func withoutSync(capabilities []string) (*specs.LinuxSeccomp, error) {
	profile, err := seccomp.GetDefaultProfile(&specs.Spec{
		Process: &specs.Process{Capabilities: &specs.LinuxCapabilities{Bounding: capabilities}},
	})
	if err != nil {
		return nil, fmt.Errorf("default seccomp profile: %w", err)
	}
	done := uint(0) // the errno that the call returns
	profile.Syscalls = append(profile.Syscalls, specs.LinuxSyscall{
		Names: []string{"fsync", "msync", "sync", "sync_file_range", "syncfs"}, Action: specs.ActErrno, ErrnoRet: &done,
	})
	return profile, nil
}
