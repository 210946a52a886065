package isolate

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/opencontainers/runc/libcontainer/configs"
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
