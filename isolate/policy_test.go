package isolate

import (
	"errors"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
)

func TestPolicy(t *testing.T) {
	loose := Policy{
		Capabilities: []string{"CAP_CHOWN", "CAP_KILL"}, Root: true, Seccomp: true,
		MaxMemory: 1 << 30, MaxPids: 1000, MaxCPU: 2,
	}
	for _, c := range []struct {
		field  string // "" when the loose policy allows it
		policy Policy
		ask    func(*Spec)
	}{
		{"", loose, func(*Spec) {}},
		{"", Policy{}, func(*Spec) {}},
		{"", loose, func(s *Spec) { s.Capabilities = []string{"CAP_KILL"} }},
		{"Capabilities", loose, func(s *Spec) { s.Capabilities = []string{"CAP_KILL", "CAP_SYS_ADMIN"} }},
		{"Capabilities", Policy{}, func(s *Spec) { s.Capabilities = []string{"CAP_KILL"} }},
		{"", loose, func(s *Spec) { s.User = User{} }},
		{"User", Policy{}, func(s *Spec) { s.User = User{} }},
		{"", loose, func(s *Spec) { s.Seccomp = &specs.LinuxSeccomp{} }},
		{"Seccomp", Policy{}, func(s *Spec) { s.Seccomp = &specs.LinuxSeccomp{} }},
		{"", Policy{}, func(s *Spec) { s.Limits = Limits{Memory: 1 << 40, Pids: 1 << 20, CPU: 64} }},
		{"Limits.Memory", loose, func(s *Spec) { s.Limits.Memory = 1<<30 + 1 }},
		{"Limits.Pids", loose, func(s *Spec) { s.Limits.Pids = 1001 }},
		{"Limits.CPU", loose, func(s *Spec) { s.Limits.CPU = 2.5 }},
		{"Limits.CPU", loose, func(s *Spec) { s.Limits.CPU = 0 }},
	} {
		s := testSpec()
		c.ask(&s)
		err := c.policy.Check(s)
		var spec *SpecError
		if c.field == "" && err != nil || c.field != "" && (!errors.As(err, &spec) || spec.Field != c.field) {
			t.Errorf("%s: %v", c.field, err)
		}
	}
}

func TestParseCapability(t *testing.T) {
	if _, err := ParseCapability("CAP_CHOWN"); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{"CAP_SYS_ADMIN", "CAP_SYS_PTRACE", "CAP_NONE", ""} {
		if _, err := ParseCapability(bad); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

func TestCapabilityMask(t *testing.T) {
	mask, err := capabilityMask([]string{"CAP_CHOWN", "CAP_CHECKPOINT_RESTORE"})
	if err != nil || mask != 1|1<<40 {
		t.Errorf("%#x %v", mask, err)
	}
	for _, bad := range []string{"", "chown", "CAP_NONE", "cap_chown", "ALL"} {
		if _, err := capabilityMask([]string{bad}); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}
