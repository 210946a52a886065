package selftest

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/gilliam/hypervisor/isolate"
)

// fit is a machine that has all that sandboxes need.
func fit() facts {
	return facts{
		Host:    isolate.Host{Kernel: isolate.MinKernel, Cgroup: isolate.CgroupV2, UserNS: true, Root: true, Overlay: true, Seccomp: true},
		release: "5.19.0", arch: "amd64", fileSystem: "ext4",
		controllers: []string{"cpuset", "cpu", "io", "memory", "pids"},
	}
}

// Of everything that a machine may lack one check tells, and the others do not.
func TestHostChecks(t *testing.T) {
	for name, lack := range map[string]func(*facts){
		"root":            func(f *facts) { f.Root = false },
		"kernel":          func(f *facts) { f.Kernel = isolate.Version{Major: 5, Minor: 18} },
		"overlayfs":       func(f *facts) { f.Overlay = false },
		"user-namespaces": func(f *facts) { f.UserNS = false },
		"seccomp-filters": func(f *facts) { f.Seccomp = false },
		"mount-api":       func(f *facts) { f.mountAPI = errors.New("fsopen: function not implemented") },
		"pidfd":           func(f *facts) { f.pidfd = errors.New("pidfd_open: operation not permitted") },
		"cgroups":         func(f *facts) { f.controllers = []string{"cpu", "pids"} },
		"":                func(*facts) {},
	} {
		f := fit()
		lack(&f)
		for _, c := range hostChecks() {
			r := c.result(context.Background(), &bench{facts: f})
			want := OK
			if c.name == name {
				want = Failed
			}
			if r.State != want || (r.State == Failed) != (len(r.Found) > 0 && r.Remedy != "") {
				t.Errorf("without %q: %+v", name, r)
			}
			if !c.essential {
				t.Errorf("%s is about what every sandbox needs", c.name)
			}
		}
	}
}

// On cgroup v1 each controller is there by itself, and devices are one of them.
func TestLackingControllers(t *testing.T) {
	f := fit()
	f.Cgroup, f.controllers = isolate.CgroupHybrid, []string{"memory", "cpu", "blkio"}
	if got := f.lacking(); !slices.Equal(got, []string{"pids", "devices"}) {
		t.Errorf("got %v", got)
	}
	f.Cgroup = ""
	for _, c := range hostChecks() {
		if r := c.result(context.Background(), &bench{facts: f}); c.name == "cgroups" && !slices.Equal(r.Found, []string{"no cgroup hierarchy at /sys/fs/cgroup"}) {
			t.Errorf("%+v", r)
		}
	}
}

// What Host.Check refuses, some check says too, so that no selftest ends without
// telling why no sandbox starts.
func TestChecksKnowWhatHostCheckRefuses(t *testing.T) {
	for i, lack := range []func(*facts){
		func(f *facts) { f.Root = false }, func(f *facts) { f.Kernel = isolate.Version{Major: 4, Minor: 19} }, func(f *facts) { f.Overlay = false },
		func(f *facts) { f.UserNS = false }, func(f *facts) { f.Seccomp = false }, func(f *facts) { f.Cgroup = "" },
	} {
		f := fit()
		lack(&f)
		if f.Check() == nil {
			t.Fatalf("%d: Host.Check finds it fit", i)
		}
		failed := 0
		for _, c := range hostChecks() {
			if c.result(context.Background(), &bench{facts: f}).State == Failed {
				failed++
			}
		}
		if failed == 0 {
			t.Errorf("%d: %v, and no check fails", i, f.Check())
		}
	}
}

// Names are what --run chooses by; a promise is one line of a table.
func TestList(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range List() {
		if seen[c.Name] || c.Name == "" || strings.Trim(c.Name, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
			t.Errorf("name %q", c.Name)
		}
		seen[c.Name] = true
		if len(c.Promise) < 10 || len(c.Promise) > 120 || strings.HasSuffix(c.Promise, ".") {
			t.Errorf("%s: promise of %d bytes %q", c.Name, len(c.Promise), c.Promise)
		}
	}
}
