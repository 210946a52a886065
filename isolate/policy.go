package isolate

import (
	"fmt"
	"slices"
)

// A Policy is what an operator lets a [Spec] ask for beyond the defaults. The
// zero Policy allows nothing of it.
type Policy struct {
	// Capabilities are those that a program may be given.
	Capabilities []string

	// Root lets a program run as root of its own user namespace, which is nobody
	// outside of it, with RootCapabilities if it names them.
	Root bool

	// Seccomp lets a spec bring a seccomp profile of its own. What sandboxes never
	// allow stays denied.
	Seccomp bool

	// MaxMemory, MaxPids and MaxCPU are the most that limits may be. Zero means
	// no such bound.
	MaxMemory int64
	MaxPids   int64
	MaxCPU    float64
}

// Check says what of s the policy does not allow, as a [SpecError]. It is pure.
func (p Policy) Check(s Spec) error {
	s = s.withDefaults()
	for _, name := range s.Capabilities {
		if !slices.Contains(p.Capabilities, name) && !(s.User.UID == 0 && p.Root && slices.Contains(RootCapabilities, name)) {
			return &SpecError{"Capabilities", fmt.Sprintf("%s is not allowed by the operator's policy, which allows %s", name, listOrNone(p.Capabilities))}
		}
	}
	switch {
	case s.User.UID == 0 && !p.Root:
		return &SpecError{"User", "root is not allowed by the operator's policy"}
	case s.Seccomp != nil && !p.Seccomp:
		return &SpecError{"Seccomp", "a profile of one's own is not allowed by the operator's policy"}
	case p.MaxMemory > 0 && s.Limits.Memory > p.MaxMemory:
		return &SpecError{"Limits.Memory", fmt.Sprintf("is above the operator's limit of %d bytes", p.MaxMemory)}
	case p.MaxPids > 0 && s.Limits.Pids > p.MaxPids:
		return &SpecError{"Limits.Pids", fmt.Sprintf("is above the operator's limit of %d", p.MaxPids)}
	case p.MaxCPU > 0 && (s.Limits.CPU == 0 || s.Limits.CPU > p.MaxCPU):
		return &SpecError{"Limits.CPU", fmt.Sprintf("must be given and at most the operator's limit of %g", p.MaxCPU)}
	}
	return nil
}

func listOrNone(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return fmt.Sprint(names)
}

// RootCapabilities are what root of a sandbox needs to be root of its own files
// and processes. They count in the sandbox's user namespace only.
var RootCapabilities = []string{
	"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_SETGID", "CAP_SETUID",
}

// ParseCapability checks the name of a capability, as in capabilities(7), that a
// policy may allow.
func ParseCapability(name string) (string, error) {
	switch name {
	case "CAP_SYS_ADMIN":
		return "", fmt.Errorf("%s cannot be allowed: with it an app removes the masks of its own /proc", name)
	case "CAP_SYS_PTRACE":
		return "", fmt.Errorf("%s cannot be allowed: with it an app traces its own PID 1", name)
	}
	_, err := capabilityMask([]string{name})
	return name, err
}
