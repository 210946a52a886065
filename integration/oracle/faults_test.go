//go:build integration

package oracle

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/gilliam/hypervisor/integration/testbed"
	"github.com/gilliam/hypervisor/isolate"
)

// A fault is a deliberate change of a plan, and the beginning of a field in
// which it must show.
type fault struct {
	name  string
	spoil func(*isolate.Plan)
	field string
}

// A comparison that cannot fail proves nothing: each fault makes our sandbox
// differ from the one that libcontainer makes of the sound plan, or makes the
// launch fail.
func TestFaults(t *testing.T) {
	testbed.Leaves(t)
	we, they := newOurs(t), newTheirs(t)
	sound := probePlan(t, we.engine.Host(), func(*isolate.Spec) {})
	theirs, err := observe(t, they.start, sound)
	if err != nil {
		t.Fatal(err)
	}
	ours, err := observe(t, we.start, sound)
	if err != nil {
		t.Fatal(err)
	}
	control := newComparison(acceptedRows).differences(ours.report, theirs.report)
	if len(control) > 0 {
		t.Fatalf("the sound plan differs:\n\t%s", list(control))
	}
	loose := func(p *isolate.Plan) { p.Seccomp = profile(t) }
	faults := slices.Concat([]fault{{"a looser filter", loose, "seccomp acct"}}, faultsOfValues(sound), faultsOfSteps(sound), faultsOfFlags(sound), faultsOfOptions(sound), faultsOfPaths(sound))
	var refused []string
	for _, f := range faults {
		p := copyOf(sound)
		f.spoil(&p)
		ours, err := observe(t, we.start, p)
		if err != nil {
			refused = append(refused, fmt.Sprintf("%s: %v", f.name, err))
			continue
		}
		theirs := observation{maps.Clone(theirs.report), theirs.filters}
		if strings.HasPrefix(f.field, "seccomp") {
			if err := compareFilters(ours, theirs); err != nil {
				t.Fatal(err)
			}
		}
		found := newComparison(acceptedRows).differences(ours.report, theirs.report)
		shows := func(field string) bool { return strings.HasPrefix(field, f.field) }
		if !slices.ContainsFunc(slices.Collect(maps.Keys(found)), shows) {
			t.Errorf("%s does not show in %s*:\n\t%s", f.name, f.field, list(found))
		}
	}
	t.Logf("%d faults; of %d no sandbox is made:\n\t%s", len(faults), len(refused), strings.Join(refused, "\n\t"))
	if len(refused) > len(faults)/10 {
		t.Errorf("so many launches that fail prove nothing")
	}
}

func copyOf(p isolate.Plan) isolate.Plan {
	p.Steps = slices.Clone(p.Steps)
	p.Masked, p.ReadOnly = slices.Clone(p.Masked), slices.Clone(p.ReadOnly)
	p.Cgroup.Devices, p.Rlimits = slices.Clone(p.Cgroup.Devices), slices.Clone(p.Rlimits)
	p.Args, p.Env = slices.Clone(p.Args), slices.Clone(p.Env)
	return p
}

// faultsOfValues change one value each.
func faultsOfValues(sound isolate.Plan) []fault {
	faults := []fault{
		{"another hostname", func(p *isolate.Plan) { p.Hostname = "other" }, "hostname"},
		{"the host's network", func(p *isolate.Plan) { p.Network = isolate.NetworkHost }, "namespace net"},
		{"other ids", func(p *isolate.Plan) { p.IDs.Base += p.IDs.Size }, "self uid_map"},
		{"fewer ids", func(p *isolate.Plan) { p.IDs.Size-- }, "self gid_map"},
		{"another user", func(p *isolate.Plan) { p.User.UID++ }, "status Uid"},
		{"another group", func(p *isolate.Plan) { p.User.GID++ }, "status Gid"},
		{"root", func(p *isolate.Plan) { p.User = isolate.User{} }, "status Uid"},
		{"a lower oom_score_adj", func(p *isolate.Plan) { p.OOMScoreAdj = 100 }, "self oom_score_adj"},
		{"a capability", func(p *isolate.Plan) { p.Capabilities = []string{"CAP_CHOWN"} }, "status CapBnd"},
		{"another umask", func(p *isolate.Plan) { p.Umask = 0 }, "status Umask"},
		{"one more argument", func(p *isolate.Plan) { p.Args = append(p.Args, "/etc/passwd") }, "arguments"},
		{"one more variable", func(p *isolate.Plan) { p.Env = append(p.Env, "MORE=1") }, "environment MORE"},
		{"one variable less", func(p *isolate.Plan) { p.Env = p.Env[:2] }, "environment PORT"},
		{"another folder", func(p *isolate.Plan) { p.Dir = "/" }, "self cwd"},
		{"more memory", func(p *isolate.Plan) { p.Cgroup.Memory *= 2; p.Cgroup.MemorySwap *= 2 }, "cgroup"},
		{"more processes", func(p *isolate.Plan) { p.Cgroup.Pids++ }, "cgroup"},
		{"more CPU", func(p *isolate.Plan) { p.Cgroup.CPUQuota *= 2 }, "cgroup"},
		{"all CPU", func(p *isolate.Plan) { p.Cgroup.CPUQuota, p.Cgroup.CPUPeriod = 0, 0 }, "cgroup"},
		{"one more node", func(p *isolate.Plan) {
			p.Steps = slices.Insert(p.Steps, stepOf[isolate.Device](p), isolate.Step(isolate.Device{Path: "/dev/kmsg", Major: 1, Minor: 11}))
		}, "node /dev/kmsg"},
	}
	if sound.Cgroup.View {
		faults = append(faults, fault{"no view of its cgroup", func(p *isolate.Plan) { p.Cgroup.View = false }, "mount /sys/fs/cgroup"})
	}
	if sound.Cgroup.OOMGroup {
		faults = append(faults, fault{"single kills for memory", func(p *isolate.Plan) { p.Cgroup.OOMGroup = false }, "cgroup"})
	}
	for i, d := range sound.Cgroup.Devices {
		field := "node /dev"
		switch {
		case d.Major == 136:
			field = "terminal"
		case d == isolate.DeviceRule{Major: 5, Minor: 0}:
			field = "node /dev/tty"
		}
		faults = append(faults, fault{
			fmt.Sprintf("no rule for device %d:%d", d.Major, d.Minor),
			func(p *isolate.Plan) { p.Cgroup.Devices = slices.Delete(p.Cgroup.Devices, i, i+1) }, field,
		})
	}
	for i, r := range sound.Rlimits {
		if r.Soft > 1 { // 0 may be what the host itself has
			lower := func(p *isolate.Plan) { p.Rlimits[i].Soft--; p.Rlimits[i].Hard-- }
			faults = append(faults, fault{"a lower limit of " + r.Name, lower, "limit "})
		}
	}
	return faults
}

// stepOf is the place of the first step of a type.
func stepOf[S isolate.Step](p *isolate.Plan) int {
	return slices.IndexFunc(p.Steps, func(s isolate.Step) bool { _, ok := s.(S); return ok })
}

// faultsOfSteps leave out one step each. A folder is missed by nobody: what is
// mounted on it makes it too.
func faultsOfSteps(sound isolate.Plan) (faults []fault) {
	for i, step := range sound.Steps {
		field := ""
		switch s := step.(type) {
		case isolate.Mkdir:
			continue
		case isolate.Mount:
			field = "mount " + s.Target
		case isolate.Device:
			field = "node " + s.Path
		case isolate.Symlink:
			field = "node " + s.Path
		case isolate.BindStep:
			field = "mount " + s.Target
		case isolate.Protect:
			field = "mount " + s.Path
		case isolate.Mask:
			if !exists(s.Path) {
				continue
			}
			field = "mount " + s.Path
		}
		faults = append(faults, fault{"without " + step.String(), func(p *isolate.Plan) {
			p.Steps = slices.Delete(p.Steps, i, i+1)
		}, field})
	}
	return faults
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}
