package isolate

import (
	"cmp"
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

	// Max are the most that limits may be. Of memory, pids, CPU and disk, of the rates
	// of I/O and of fsize zero means no such bound; of the weights, nofile and memlock no
	// more than the defaults. A spec that names no limit asks for the default, and
	// for no limit where that is the default.
	Max Limits
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
	case s.Tree != "":
		return &SpecError{"Tree", "is for templates in the making, never for an app"}
	case s.User.UID == 0 && !p.Root:
		return &SpecError{"User", "root is not allowed by the operator's policy"}
	case s.Seccomp != nil && !p.Seccomp:
		return &SpecError{"Seccomp", "a profile of one's own is not allowed by the operator's policy"}
	}
	return p.checkLimits(s.Limits)
}

// checkLimits is Check of limits in which the defaults are filled in.
func (p Policy) checkLimits(l Limits) error {
	bad := func(field, format string, args ...any) error {
		return &SpecError{"Limits." + field, fmt.Sprintf(format, args...)}
	}
	if max := p.Max.CPU; max > 0 && (l.CPU == 0 || l.CPU > max) {
		return bad("CPU", "must be given and at most the operator's limit of %g", max)
	}
	for _, c := range []bound{
		{"Memory", l.Memory, p.Max.Memory},
		{"Pids", l.Pids, p.Max.Pids},
		{"CPUWeight", l.CPUWeight, cmp.Or(p.Max.CPUWeight, DefaultWeight)},
		{"IO.Weight", cmp.Or(l.IO.Weight, DefaultWeight), cmp.Or(p.Max.IO.Weight, DefaultWeight)},
		{"Rlimits.Nofile", cmp.Or(l.Rlimits.Nofile, nofileHard), cmp.Or(p.Max.Rlimits.Nofile, nofileHard)},
		{"Rlimits.Memlock", cmp.Or(l.Rlimits.Memlock, memlock), cmp.Or(p.Max.Rlimits.Memlock, memlock)},
	} {
		if c.most > 0 && c.asked > c.most {
			return bad(c.field, "is above the operator's limit of %d", c.most)
		}
	}
	must := []bound{{"Disk", l.Disk, p.Max.Disk}, {"Inodes", l.LayerInodes(), p.Max.Inodes}, {"Rlimits.Fsize", l.Rlimits.Fsize, p.Max.Rlimits.Fsize}}
	most := p.Max.IO.rates()
	for i, asked := range l.IO.rates() {
		must = append(must, bound{"IO." + asked.field, asked.limit, most[i].limit})
	}
	for _, c := range must {
		if c.most > 0 && (c.asked == 0 || c.asked > c.most) {
			return bad(c.field, "must be given and at most the operator's limit of %d", c.most)
		}
	}
	return nil
}

// A bound is a field of Limits, what a spec asks of it, and the most it may.
type bound struct {
	field       string
	asked, most int64
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
	case "CAP_NET_ADMIN", "CAP_NET_BIND_SERVICE", "CAP_NET_BROADCAST", "CAP_NET_RAW":
		return "", fmt.Errorf("%s cannot be allowed: it would have no effect, since every network of an app belongs to the host's user namespace", name)
	}
	_, err := capabilityMask([]string{name})
	return name, err
}
