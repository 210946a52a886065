package isolate

import (
	"fmt"

	"github.com/elastic/go-seccomp-bpf/arch"
	"github.com/moby/profiles/seccomp"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// defaultFilter is the program that every sandbox runs under: Docker's default
// profile for a process without capabilities, hardened.
func defaultFilter() ([]byte, error) {
	info, err := arch.GetInfo("")
	if err != nil {
		return nil, fmt.Errorf("%w: seccomp: %v", ErrUnsupported, err)
	}
	profile, err := seccomp.GetDefaultProfile(&specs.Spec{
		Process: &specs.Process{Capabilities: &specs.LinuxCapabilities{}},
	})
	if err != nil {
		return nil, fmt.Errorf("default seccomp profile: %w", err)
	}
	f, err := newFilter(profile, info)
	if err != nil {
		return nil, err
	}
	f.harden()
	prog, err := f.assemble()
	if err != nil {
		return nil, err
	}
	return encodeFilter(prog), nil
}
