//go:build integration

package isolate_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/gilliam/hypervisor/integration/testbed"
	"github.com/gilliam/hypervisor/isolate"
	"github.com/gilliam/hypervisor/rootfs/fsimage/fsimagetest"
)

// Every step of a plan is made to fail in turn: the launch fails, names the step,
// and leaves nothing.
func TestEveryStepFails(t *testing.T) {
	testbed.Leaves(t)
	e := testbed.Engine(t)
	image, packed := volumeImage(t, 8<<20), fsimagetest.File(t, "squashfs")
	sound := func() isolate.Plan {
		s := limited(t, isolate.Limits{Disk: 16 << 20}, "true") // a layer that nobody has used
		s.Binds = []isolate.Bind{
			{Source: "/etc/hosts", Target: "/etc/hosts"},
			{Source: "/etc/apt", Target: "/srv/a"},
			{Source: "/etc/apt/apt.conf.d", Target: "/srv/a/b", Within: "/etc"},
		}
		s.Volumes = []isolate.Volume{{Image: image, Target: "/srv/v", Size: 8 << 20}}
		s.FileSystems = []isolate.FileSystem{{Type: "squashfs", Image: packed, Target: "/srv/f"}}
		plan, err := isolate.NewPlan(s, e.Host())
		must(t, err)
		return plan
	}
	tried := make(map[string]bool)
	fails := func(plan isolate.Plan, n int) {
		step := plan.Steps[n]
		tried[fmt.Sprintf("%T", step)] = true
		plan.Steps = slices.Clone(plan.Steps)
		plan.Steps[n] = spoilt(step)
		_, err := launchPlan(t, e, plan)
		var failed *isolate.StepError
		if !errors.As(err, &failed) || failed.Step != plan.Steps[n].String() {
			t.Errorf("step %d (%s): %v", n, step, err)
		}
	}
	for n := range sound().Steps {
		fails(sound(), n)
	}
	tree, err := isolate.NewPlan(treeSpec(t, newTree(t), "true"), e.Host())
	must(t, err)
	fails(tree, 0) // its root; the others are alike

	kinds := 0
	files, err := filepath.Glob("*.go")
	must(t, err)
	for _, file := range files {
		source, err := os.ReadFile(file)
		must(t, err)
		for _, kind := range regexp.MustCompile(`(?m)^func \((\w+)\) step\(\)`).FindAllSubmatch(source, -1) {
			kinds++
			if !tried["isolate."+string(kind[1])] {
				t.Errorf("nothing makes a step %s fail", kind[1])
			}
		}
	}
	if kinds < 9 {
		t.Errorf("found only %d kinds of steps", kinds)
	}
}

// spoilt is the step as it cannot be done.
func spoilt(step isolate.Step) isolate.Step {
	const nowhere = "/etc/passwd/nowhere" // below a file
	switch s := step.(type) {
	case isolate.MountLayer:
		s.Options = []string{"no-such-option"}
		return s
	case isolate.MountRoot:
		s.Upper = nowhere
		return s
	case isolate.BindRoot:
		s.Source = nowhere
		return s
	case isolate.Mount:
		s.Options = append(slices.Clone(s.Options), "no-such-option=1")
		return s
	case isolate.Mkdir:
		return isolate.Mkdir{Path: nowhere}
	case isolate.Device:
		s.Path = nowhere
		return s
	case isolate.Symlink:
		s.Path = nowhere
		return s
	case isolate.BindStep:
		s.Source = nowhere
		return s
	case isolate.MountVolume:
		s.Bytes += 4096
		return s
	case isolate.MountFileSystem:
		s.Image = nowhere
		return s
	case isolate.Extend:
		s.Path = nowhere
		return s
	case isolate.Mask:
		return isolate.Mask{Path: "/bin/sh"} // reached by a symlink
	case isolate.Protect:
		s.Path = nowhere
		return s
	}
	panic("bug: unknown step")
}

// What is wrong beside the steps is named as well, and leaves nothing.
func TestBadPlans(t *testing.T) {
	testbed.Leaves(t)
	e := testbed.Engine(t)
	for _, c := range []struct {
		want  string // in the error
		spoil func(*isolate.Plan)
	}{
		{"/no/such/template", func(p *isolate.Plan) { p.Root = "/no/such/template" }},
		{"idmap /no/such/template: no such file", func(p *isolate.Plan) {
			root := p.Steps[0].(isolate.MountRoot)
			root.Lowers = []string{"/no/such/template"}
			p.Steps = slices.Concat([]isolate.Step{root}, p.Steps[1:])
		}},
		{"idmap /proc: its file system cannot be idmapped", func(p *isolate.Plan) {
			root := p.Steps[0].(isolate.MountRoot)
			root.Lowers = []string{"/proc"}
			p.Steps = slices.Concat([]isolate.Step{root}, p.Steps[1:])
		}},
		{"sethostname", func(p *isolate.Plan) { p.Hostname = strings.Repeat("x", 65) }},
		{"set limits of cgroup", func(p *isolate.Plan) { p.Cgroup.Memory, p.Cgroup.MemorySwap = 4096, 1 }},
		{"set limits of cgroup", func(p *isolate.Plan) { p.Cgroup.CPUQuota, p.Cgroup.CPUPeriod = 1, 100_000 }},
		{"set limits of cgroup", func(p *isolate.Plan) {
			p.Cgroup.IO = isolate.CgroupIO{Device: isolate.BlockDevice{Major: 9, Minor: 999}, IOLimits: isolate.IOLimits{ReadBPS: 1 << 20}}
		}},
		{"make user namespace", func(p *isolate.Plan) { p.IDs.Size = 0 }},
		{"sandbox-init: set limits", func(p *isolate.Plan) { p.Rlimits = []isolate.Rlimit{{Resource: 99}} }},
		{"sandbox-init: limit namespaces /proc/sys/user/max_user_namespaces", func(p *isolate.Plan) { p.UserLimits = []string{"max_user_namespaces=x"} }},
		{"sandbox-init: mask paths /proc/self/exe", func(p *isolate.Plan) { p.Masked = []string{"/proc/self/exe"} }},
		{"sandbox-init: make paths read-only /proc/self/exe", func(p *isolate.Plan) { p.ReadOnly = []string{"/proc/self/exe"} }},
		{"exec /bin/true", func(p *isolate.Plan) { p.Args, p.Dir = []string{"/bin/true"}, "/no/such/folder" }},
	} {
		plan, err := isolate.NewPlan(spec(t, "true"), e.Host())
		must(t, err)
		c.spoil(&plan)
		if _, err := launchPlan(t, e, plan); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want %s", err, c.want)
		}
	}
}
