package isolate

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"sync"

	"github.com/elastic/go-seccomp-bpf/arch"
	"github.com/moby/profiles/seccomp"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// maxFilters bounds the compiled filters that are kept.
const maxFilters = 256

// filters keeps compiled seccomp programs: nearly every sandbox has the same. It
// is safe for concurrent use.
type filters struct {
	mu       sync.Mutex
	compiled map[[sha256.Size]byte][]byte
}

// get is the program for a plan's profile and capabilities.
func (f *filters) get(p Plan) ([]byte, error) {
	text, err := json.Marshal(struct {
		Capabilities []string
		Profile      *specs.LinuxSeccomp
	}{p.Capabilities, p.Seccomp})
	if err != nil {
		return nil, err
	}
	key := sha256.Sum256(text)
	f.mu.Lock()
	defer f.mu.Unlock()
	if filter, ok := f.compiled[key]; ok {
		return filter, nil
	}
	filter, err := compileFilter(p.Seccomp, p.Capabilities)
	if err != nil {
		return nil, err
	}
	if f.compiled == nil || len(f.compiled) >= maxFilters {
		f.compiled = make(map[[sha256.Size]byte][]byte)
	}
	f.compiled[key] = filter
	return filter, nil
}

// compileFilter assembles a profile, nil meaning Docker's default for a process
// with these capabilities, and hardens it.
func compileFilter(profile *specs.LinuxSeccomp, capabilities []string) ([]byte, error) {
	f, err := profileFilter(profile, capabilities)
	if err != nil {
		return nil, err
	}
	if name := f.lacks(); name != "" {
		return nil, &SpecError{"Seccomp", fmt.Sprintf("the profile must allow %s, which sandbox-init needs to run a program", name)}
	}
	prog, err := f.assemble()
	if err != nil {
		return nil, err
	}
	return encodeFilter(prog), nil
}

func profileFilter(profile *specs.LinuxSeccomp, capabilities []string) (*filter, error) {
	info, err := arch.GetInfo("")
	if err != nil {
		return nil, fmt.Errorf("%w: seccomp: %v", ErrUnsupported, err)
	}
	if profile == nil {
		profile, err = seccomp.GetDefaultProfile(&specs.Spec{
			Process: &specs.Process{Capabilities: &specs.LinuxCapabilities{Bounding: capabilities}},
		})
		if err != nil {
			return nil, fmt.Errorf("default seccomp profile: %w", err)
		}
	}
	f, err := newFilter(profile, info)
	if err != nil {
		return nil, &SpecError{"Seccomp", err.Error()}
	}
	f.harden()
	return f, nil
}
