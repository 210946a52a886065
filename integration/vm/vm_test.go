//go:build vm

package vm

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gilliam/hypervisor/integration/vm/job"
)

// selftest is the hypervisor's own, on the file system of the scratch disk: it
// must find no fault with this kernel.
var selftest = job.Task{
	Name: "selftest", Dir: job.TempDir, Timeout: 10 * time.Minute,
	Args: []string{job.BinDir + "/hypervisor", "selftest", "--state-dir", job.TempDir + "/selftest"},
}

// Debian 12's kernel passes the tests on real sandboxes, and the selftest.
func TestDebian12(t *testing.T) {
	chosen := slices.DeleteFunc(slices.Clone(packages), func(p suite) bool { return *only != "" && p.dir != *only })
	if len(chosen) == 0 && *only != selftest.Name {
		t.Fatalf("-only %s: no such package in the list", *only)
	}
	r := newRig(t, chosen, "cmd/hypervisor")
	if !strings.HasPrefix(r.kernel.Release, "6.1.") {
		t.Errorf("apt offers the kernel %s: this machine is not Debian 12", r.kernel.Release)
	}
	var tasks []job.Task
	for _, p := range chosen {
		tasks = append(tasks, job.Tests(p.dir, *part, p.timeout))
	}
	if *only == "" || *only == selftest.Name {
		tasks = append(tasks, selftest)
	}
	console := r.run(t, tasks...)
	if got := console.Facts["release"]; got != r.kernel.Release {
		t.Errorf("the guest runs kernel %q, not %s", got, r.kernel.Release)
	}
	if got := console.Facts["cgroup"]; got != "0::/" {
		t.Errorf("the guest has other cgroups than v2: %q", got)
	}
	for _, p := range chosen {
		t.Run(p.dir, func(t *testing.T) { judge(t, console.Results[p.dir]) })
	}
	if *only == "" || *only == selftest.Name {
		t.Run(selftest.Name, func(t *testing.T) {
			if r := console.Results[selftest.Name]; r == nil || !r.Ended || r.Code != 0 {
				t.Errorf("got %+v", r)
			}
		})
	}
}

// judge fails the test unless the guest ran the package's tests and all passed.
func judge(t *testing.T, r *job.Result) {
	switch {
	case r == nil:
		t.Fatal("did not run")
	case !r.Ended:
		t.Fatalf("did not end; passed so far: %q", r.Passed)
	}
	t.Logf("%d tests passed in %v", len(r.Passed), r.Took)
	if r.Code != 0 || len(r.Failed) > 0 {
		t.Errorf("exit code %d; failed: %q", r.Code, r.Failed)
	}
	if len(r.Skipped) > 0 {
		t.Errorf("skipped: %q", r.Skipped)
	}
	if len(r.Passed) == 0 {
		t.Error("no test ran")
	}
}
