//go:build integration

package attack

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gilliam/hypervisor/integration/testbed"
	"github.com/gilliam/hypervisor/isolate"
	"github.com/gilliam/hypervisor/isolate/selftest/attacks"
)

// fuse is a device that needs no privilege to be opened.
var fuse = isolate.Device{Path: "/dev/added", Major: 10, Minor: 229}

// add puts a device node into the plan's /dev.
func add(p *isolate.Plan) {
	at := slices.IndexFunc(p.Steps, func(s isolate.Step) bool { _, device := s.(isolate.Device); return device })
	p.Steps = slices.Insert(slices.Clone(p.Steps), at, isolate.Step(fuse))
}

// T11: no device but those of the plan, by any way.
func TestDevices(t *testing.T) {
	fight(t, []attack{{
		id: "T11", what: "devices", args: []string{"devices", fuse.Path}, sandbox: add,
		want: attacks.Expectation{Want: map[string]string{
			"/dev":                    "added fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero",
			"open added " + fuse.Path: "EPERM", // the devices cgroup's: the node is there
		}},
		control: ruled, differs: true,
		blind: map[string]string{
			"mknod ": "shown in /tmp, by the host's root in a mount namespace of its own", "open /dev/": "the template has no such node", "/dev": "the list is the same",
		},
	}})
}

// ruled opens the added node where a rule allows it, and makes nodes where root
// may.
func ruled(t *testing.T, args []string) report {
	t.Helper()
	r := once(t, spec(t, args...), add, func(p *isolate.Plan) {
		p.Cgroup.Devices = append(slices.Clone(p.Cgroup.Devices), isolate.DeviceRule{Major: int64(fuse.Major), Minor: int64(fuse.Minor)})
	})
	made := asRoot(t, args[:1])
	for name, outcome := range made.Detail {
		if strings.HasPrefix(name, "mknod ") && outcome != "ok" {
			t.Errorf("control: %s: %s", name, outcome)
		}
		if strings.HasPrefix(name, "mknod ") {
			r.Detail[name] = outcome
		}
	}
	return r
}

// T11: the devices cgroup has no rule for more than the plan's devices. The
// control is the group above, which allows all.
func TestDeviceRules(t *testing.T) {
	e := testbed.Engine(t)
	if e.Host().Cgroup == isolate.CgroupV2 {
		t.Log("no control: cgroup v2 has a program instead of a list; T11 devices shows what it does")
		return
	}
	b := start(t, e, spec(t, "sleep"))
	b.report(t)
	list := func(group string) string {
		text, err := os.ReadFile(filepath.Join("/sys/fs/cgroup/devices", group, "devices.list"))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	rules := strings.Split(strings.TrimSpace(list(isolate.CgroupParent+"/"+b.ID())), "\n")
	want := []string{"c 136:* rw", "c 1:3 rw", "c 1:5 rw", "c 1:7 rw", "c 1:8 rw", "c 1:9 rw", "c 5:0 rw", "c 5:2 rw"}
	slices.Sort(rules)
	if !slices.Equal(rules, want) {
		t.Errorf("got %q, want %q", rules, want)
	}
	if all := list("/"); !strings.Contains(all, "*:*") {
		t.Errorf("control: %s", all)
	}
}
