package isolate

import (
	"errors"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
)

func TestPolicy(t *testing.T) {
	loose := Policy{
		Capabilities: []string{"CAP_CHOWN", "CAP_KILL"}, Root: true, Seccomp: true,
		Max: Limits{Memory: 1 << 30, Pids: 1000, CPU: 2},
	}
	bounded := Policy{Max: Limits{
		CPUWeight: 500, IO: IOLimits{Weight: 300, ReadBPS: 1 << 20, WriteIOPS: 100},
		Rlimits: ProcessLimits{Nofile: 1 << 16, Memlock: 1 << 20, Fsize: 1 << 30},
	}}
	within := Limits{
		CPUWeight: 500, IO: IOLimits{Weight: 300, ReadBPS: 1 << 20, WriteIOPS: 100},
		Rlimits: ProcessLimits{Nofile: 1 << 16, Memlock: 1 << 20, Fsize: 1 << 30},
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
		{"Tree", loose, func(s *Spec) { s.Template, s.Layer, s.Tree = "", Layer{}, "/var/lib/gilliam/template" }},
		{"", loose, func(s *Spec) { s.User = User{} }},
		{"User", Policy{}, func(s *Spec) { s.User = User{} }},
		{"", loose, func(s *Spec) { s.Seccomp = &specs.LinuxSeccomp{} }},
		{"Seccomp", Policy{}, func(s *Spec) { s.Seccomp = &specs.LinuxSeccomp{} }},
		{"", Policy{}, func(s *Spec) { s.Limits = Limits{Memory: 1 << 40, Pids: 1 << 20, CPU: 64} }},
		{"Limits.Memory", loose, func(s *Spec) { s.Limits.Memory = 1<<30 + 1 }},
		{"Limits.Pids", loose, func(s *Spec) { s.Limits.Pids = 1001 }},
		{"Limits.CPU", loose, func(s *Spec) { s.Limits.CPU = 2.5 }},
		{"Limits.CPU", loose, func(s *Spec) { s.Limits.CPU = 0 }},
		{"", Policy{}, func(s *Spec) { s.Limits.CPUWeight, s.Limits.IO = 100, IOLimits{100, 1 << 20, 1 << 20, 9, 9} }},
		{"", Policy{}, func(s *Spec) { s.Limits.Rlimits = ProcessLimits{16384, 9, 64 << 10, 1 << 40} }},
		{"Limits.CPUWeight", Policy{}, func(s *Spec) { s.Limits.CPUWeight = 101 }},
		{"Limits.IO.Weight", Policy{}, func(s *Spec) { s.Limits.IO.Weight = 101 }},
		{"Limits.Rlimits.Nofile", Policy{}, func(s *Spec) { s.Limits.Rlimits.Nofile = 16385 }},
		{"Limits.Rlimits.Memlock", Policy{}, func(s *Spec) { s.Limits.Rlimits.Memlock = 64<<10 + 1 }},
		{"", bounded, func(s *Spec) { s.Limits = within }},
		{"Limits.CPUWeight", bounded, func(s *Spec) { s.Limits = within; s.Limits.CPUWeight++ }},
		{"Limits.IO.Weight", bounded, func(s *Spec) { s.Limits = within; s.Limits.IO.Weight++ }},
		{"Limits.IO.ReadBPS", bounded, func(s *Spec) { s.Limits = within; s.Limits.IO.ReadBPS++ }},
		{"Limits.IO.ReadBPS", bounded, func(s *Spec) { s.Limits = within; s.Limits.IO.ReadBPS = 0 }},
		{"Limits.IO.WriteIOPS", bounded, func(s *Spec) { s.Limits = within; s.Limits.IO.WriteIOPS = 0 }},
		{"Limits.Rlimits.Nofile", bounded, func(s *Spec) { s.Limits = within; s.Limits.Rlimits.Nofile++ }},
		{"Limits.Rlimits.Memlock", bounded, func(s *Spec) { s.Limits = within; s.Limits.Rlimits.Memlock++ }},
		{"Limits.CPUWeight", Policy{Max: Limits{CPUWeight: 50}}, func(*Spec) {}},
		{"Limits.IO.Weight", Policy{Max: Limits{IO: IOLimits{Weight: 50}}}, func(*Spec) {}},
		{"Limits.Rlimits.Nofile", Policy{Max: Limits{Rlimits: ProcessLimits{Nofile: 2048}}}, func(*Spec) {}},
		{"", Policy{Max: Limits{Rlimits: ProcessLimits{Nofile: 2048}}}, func(s *Spec) { s.Limits.Rlimits.Nofile = 2048 }},
		{"Limits.Rlimits.Memlock", Policy{Max: Limits{Rlimits: ProcessLimits{Memlock: 4096}}}, func(*Spec) {}},
		{"", Policy{Max: Limits{Disk: 1 << 30, Inodes: 65536}}, func(s *Spec) { s.Limits.Disk = 1 << 30 }},
		{"Limits.Disk", Policy{Max: Limits{Disk: 1 << 30}}, func(s *Spec) { s.Limits.Disk = 1<<30 + 1 }},
		{"Limits.Disk", Policy{Max: Limits{Disk: 1 << 30}}, func(*Spec) {}},
		{"Limits.Inodes", Policy{Max: Limits{Inodes: 65535}}, func(s *Spec) { s.Limits.Disk = 1 << 30 }},
		{"", Policy{Max: Limits{Inodes: 65535}}, func(s *Spec) { s.Limits.Disk, s.Limits.Inodes = 1<<30, 65535 }},
		{"Limits.Rlimits.Fsize", bounded, func(s *Spec) { s.Limits = within; s.Limits.Rlimits.Fsize = 0 }},
	} {
		s := testSpec()
		s.Limits = Limits{Memory: 256 << 20, CPU: 1.5}
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
	for _, bad := range []string{"CAP_SYS_ADMIN", "CAP_SYS_PTRACE", "CAP_NET_BIND_SERVICE", "CAP_NET_RAW", "CAP_NONE", ""} {
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
