package isolate

import (
	"encoding/json"
	"reflect"
	"slices"
	"testing"

	"github.com/opencontainers/runc/libcontainer/configs"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// The golden file leaves out the system calls that are simply allowed: their
// list is long and differs from one architecture to the next.
func TestConfigGolden(t *testing.T) {
	p, err := NewPlan(testSpec(), testHost())
	if err != nil {
		t.Fatal(err)
	}
	c, err := p.Config()
	if err != nil {
		t.Fatal(err)
	}
	all := len(c.Seccomp.Syscalls)
	c.Seccomp.Architectures = nil
	c.Seccomp.Syscalls = slices.DeleteFunc(c.Seccomp.Syscalls, func(s *configs.Syscall) bool {
		return s.Action == configs.Allow && len(s.Args) == 0
	})
	if all < 300 || len(c.Seccomp.Syscalls) == 0 {
		t.Errorf("%d seccomp rules, %d of them with conditions", all, len(c.Seccomp.Syscalls))
	}
	text, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "testdata/config.json", string(text)+"\n")
}

// Only a network namespace of its own gets a loopback interface.
func TestConfigNetworkNone(t *testing.T) {
	s := testSpec()
	s.Network = NetworkNone
	p, err := NewPlan(s, testHost())
	if err != nil {
		t.Fatal(err)
	}
	c, err := p.Config()
	if err != nil {
		t.Fatal(err)
	}
	if !c.Namespaces.Contains(configs.NEWNET) || len(c.Networks) != 1 || c.Networks[0].Type != "loopback" {
		t.Errorf("namespaces %v, networks %v", c.Namespaces, c.Networks)
	}
}

// Root of a sandbox has its capabilities by being root, another user by way of
// the ambient set.
func TestConfigCapabilities(t *testing.T) {
	s := testSpec()
	s.Capabilities = []string{"CAP_CHOWN"}
	for uid, ambient := range map[uint32][]string{1000: s.Capabilities, 0: nil} {
		s.User = User{UID: uid, GID: uid}
		p, err := NewPlan(s, testHost())
		if err != nil {
			t.Fatal(err)
		}
		c, err := p.Config()
		if err != nil {
			t.Fatal(err)
		}
		want := &configs.Capabilities{
			Bounding: s.Capabilities, Effective: s.Capabilities, Permitted: s.Capabilities, Inheritable: ambient, Ambient: ambient,
		}
		if !reflect.DeepEqual(c.Capabilities, want) {
			t.Errorf("user %d: %+v", uid, c.Capabilities)
		}
	}
}

// A profile of one's own takes the place of the default one, word for word.
func TestConfigSeccomp(t *testing.T) {
	errno := uint(38)
	s := testSpec()
	s.Seccomp = &specs.LinuxSeccomp{
		DefaultAction: specs.ActErrno, DefaultErrnoRet: &errno, Architectures: []specs.Arch{specs.ArchX86_64},
		Syscalls: []specs.LinuxSyscall{{
			Names: []string{"socket", "bind"}, Action: specs.ActAllow,
			Args: []specs.LinuxSeccompArg{{Index: 1, Value: 7, ValueTwo: 3, Op: specs.OpMaskedEqual}},
		}},
	}
	p, err := NewPlan(s, testHost())
	if err != nil {
		t.Fatal(err)
	}
	c, err := p.Config()
	if err != nil {
		t.Fatal(err)
	}
	args := []*configs.Arg{{Index: 1, Value: 7, ValueTwo: 3, Op: configs.MaskEqualTo}}
	want := &configs.Seccomp{
		DefaultAction: configs.Errno, DefaultErrnoRet: &errno, Architectures: []string{"x86_64"},
		Syscalls: []*configs.Syscall{{Name: "socket", Action: configs.Allow, Args: args}, {Name: "bind", Action: configs.Allow, Args: args}},
	}
	if !reflect.DeepEqual(c.Seccomp, want) {
		t.Errorf("got %+v", c.Seccomp)
	}
	p.Seccomp = &specs.LinuxSeccomp{DefaultAction: specs.ActNotify}
	if _, err := p.Config(); err == nil {
		t.Error("an action that nobody here knows was taken")
	}
}

// Nothing of a configuration is shared with the plan or with another one.
func TestConfigOwnsItsData(t *testing.T) {
	p, err := NewPlan(testSpec(), testHost())
	if err != nil {
		t.Fatal(err)
	}
	before := p.String()
	c, err := p.Config()
	if err != nil {
		t.Fatal(err)
	}
	c.MaskPaths[0], c.ReadonlyPaths[0] = "x", "x"
	*c.OomScoreAdj, *c.Umask, *c.Cgroups.Resources.PidsLimit = 1, 1, 1
	c.Mounts[1].Data = "x"
	if p.String() != before {
		t.Error("changing the configuration changed the plan")
	}
}
