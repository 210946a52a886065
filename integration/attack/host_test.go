//go:build integration

package attack

import (
	"os"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/gilliam/hypervisor/integration/testbed"
	"github.com/gilliam/hypervisor/isolate"
	"github.com/gilliam/hypervisor/isolate/selftest/attacks"
)

// T2, T7, T8, T9, T13 and the ways above the root: what a sandbox shows of the
// host and what it lets be changed.
func TestHost(t *testing.T) {
	plan, err := isolate.NewPlan(spec(t), testbed.Engine(t).Host())
	if err != nil {
		t.Fatal(err)
	}
	paths := []string{"masks"}
	for _, p := range plan.Masked {
		paths = append(paths, "mask="+p)
	}
	for _, p := range plan.ReadOnly {
		paths = append(paths, "ro="+p)
	}
	for _, s := range plan.Steps {
		if m, ok := s.(isolate.Mask); ok {
			paths = append(paths, "mask="+m.Path)
		}
	}
	const locked = "a mount call works for nobody without capabilities; shown by T7 remounts"
	const kernels = "a file of the kernel's that nobody may remove"
	fight(t, []attack{{
		id: "T7", what: "look behind masks", args: paths, control: weakened(unmasked), differs: true,
		blind: map[string]string{
			"list ":   "a new sysfs shows no more than the empty folder, and this kernel may have nothing there",
			"umount ": locked, "remount ": locked, "move ": locked, "remove ": kernels, "rename ": kernels, "create in ": kernels,
		},
	}, {
		id: "T7", what: "remounts", args: []string{"remounts", "/", "/proc", "/proc/sys", "/proc/kallsyms", "/sys", "/sys/firmware", "/dev", "/dev/null", "/app", "/tmp"},
		want: attacks.Remounts, control: asRootOfNamespaces, differs: true,
		blind: map[string]string{"": "the host's own mounts are locked in the control; tmpfs, bind and the new API are shown"},
	}, {
		id: "T8", what: "cgroups", args: []string{"cgroups"}, want: attacks.Cgroups, control: asRootOfNamespaces, differs: true,
		blind: map[string]string{"": "the host's hierarchies belong to its root; mounting cgroup2 is shown"},
	}, {
		id: "T9", what: "host knobs", args: []string{"knobs"}, control: func(t *testing.T, args []string) report { return asRoot(t, append(args, "existing")) },
		blind: map[string]string{"": "this kernel has no such file, or lets nobody write to it"},
	}, {
		id: "T2", what: "open descriptors", args: []string{"descriptors"}, control: leaky, differs: true,
		want:  attacks.Descriptors.With(map[string]string{"cwd": "/app"}),
		blind: map[string]string{"a working directory outside": "the host has no outside", "write stdin": "a pipe is no folder anywhere"},
	}, {
		id: "escape", what: "above the root", args: []string{"escape", "/var/lib/gilliam"}, want: attacks.Escape, control: jailed, differs: true,
		blind: map[string]string{
			"above by": "the kernel keeps everybody below their root; chroot is shown", "through /proc/1": "PID 1 is the probe itself there",
			"see ": "the control is in a root of its own as well", "handle of the root": hostOnly,
		},
	}})
}

// unmasked takes all masks and protections away.
func unmasked(p *isolate.Plan) {
	p.Masked, p.ReadOnly = nil, nil
	without(func(s isolate.Step) bool { _, mask := s.(isolate.Mask); return mask })(p)
}

// leaky starts the probe as a daemon would that closes nothing: with a folder of
// the host's and a file behind descriptors.
func leaky(t *testing.T, args []string) report {
	t.Helper()
	etc, err := os.Open("/etc")
	if err != nil {
		t.Fatal(err)
	}
	defer etc.Close()
	file, err := os.Open("/etc/hostname")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	return bareWith(t, file, []*os.File{etc}, args...)
}

// jailed is a chroot, as escaped from since 1999.
func jailed(t *testing.T, args []string) report {
	t.Helper()
	attr := testbed.AsRootOfNamespaces()
	attr.Chroot = jail(t)
	return testbed.Bare(t, "/probe", commons(t), attr, args...)
}

// T13: nothing that a sandbox may read tells where it lies on the host, who else
// runs there, or that mounts propagate. Control: a file in the sandbox that does.
func TestLeaks(t *testing.T) {
	neighbour := uuid.NewString()
	e := testbed.Engine(t)
	other := tenant(t, spec(t, "sleep"), 1)
	other.ID, other.Hostname, other.Env = neighbour, "their-host", []string{"TOKEN=theirs"}
	start(t, e, other).report(t)

	t.Setenv("DAEMON_TOKEN", "of-the-daemon")
	s := spec(t)
	daemon, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	secrets := map[string]string{
		"mounts that propagate": "shared:", "mounts that follow": "master:", "mounts of a group": "propagate_from:",
		"the neighbour's id": neighbour, "the neighbour's environment": "TOKEN=theirs", "the neighbour's host name": "their-host",
		"the daemon's environment": "of-the-daemon", "the daemon's executable": daemon, "the hypervisor's cgroup": isolate.CgroupParent + "/",
		"its own layer": s.Layer.Upper, "its own work folder": s.Layer.Work, "its id": s.ID, "the template": s.Template + "/",
	}
	s.Args = append(s.Args, "leaks")
	for name, needle := range secrets {
		s.Args = append(s.Args, name+"="+needle)
	}
	got := once(t, s)
	for name := range secrets {
		if got.Detail[name] != "no" {
			t.Errorf("%s: %s, in %s", name, got.Detail[name], got.Detail[name+" in"])
		}
	}

	s = spec(t, "leaks", "the image's folder="+tools)
	if got := once(t, s).Detail; got["the image's folder"] == "ok" {
		t.Logf("KNOWN: T13: the kernel shows where a bound folder lies on its file system: %s", got["the image's folder in"])
	}

	s = spec(t, "leaks", "of the control=gilliam", "its mounts=overlay")
	s.Hostname = "gilliam"
	if err := os.WriteFile(s.Layer.Upper+"/x", nil, 0o644); err != nil {
		t.Fatal(err)
	}
	ctl := once(t, s)
	if ctl.Detail["its mounts"] != "ok" || !strings.Contains(ctl.Detail["its mounts in"], "/proc/1/mountinfo") {
		t.Errorf("control: %v", ctl)
	}
}

// T24: the app has exactly the environment it was given, and cannot read that of
// PID 1.
func TestEnvironment(t *testing.T) {
	t.Setenv("DAEMON_TOKEN", "of-the-daemon")
	fight(t, []attack{{
		id: "T24", what: "read environments", args: []string{"environment"},
		want:         attacks.Environment.With(map[string]string{"own": "HOME=/app\nPORT=8000"}),
		uncontrolled: "PID 1's environ cannot be opened up; that of a child of the probe's own is read",
	}})
}
