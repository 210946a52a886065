//go:build integration

package selftest

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/gilliam/hypervisor/integration/testbed"
	"github.com/gilliam/hypervisor/isolate"
	"github.com/gilliam/hypervisor/isolate/selftest/probebin"
)

// tools is a folder with the probe, for controls to execute.
var tools string

func TestMain(m *testing.M) { os.Exit(testMain(m)) }

func testMain(m *testing.M) int {
	dir, err := os.MkdirTemp("", "gilliam-selftest-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	tools = dir
	return testbed.Run(m, func() error {
		return errors.Join(os.Chmod(dir, 0o755), os.WriteFile(filepath.Join(dir, "probe"), probebin.Binary, 0o755))
	})
}

// options are those of a selftest of some checks, in a folder of the test's.
func options(t *testing.T, checks string) Options {
	t.Helper()
	return Options{Dir: t.TempDir(), Lease: fixed(rangeOf(0), rangeOf(1)), Run: regexp.MustCompile(checks)}
}

// fixed leases these ranges.
func fixed(ranges ...isolate.IDRange) func(string, int) ([]isolate.IDRange, func() error, error) {
	return func(string, int) ([]isolate.IDRange, func() error, error) {
		return ranges, func() error { return nil }, nil
	}
}

// rangeOf is a range that no other test and no hypervisor uses at the same time.
func rangeOf(n uint32) isolate.IDRange {
	return isolate.IDRange{Base: 0x7ffe0000 - n<<16, Size: 1 << 16}
}

// On a machine that can run sandboxes every check is ok, or says what is missing;
// of each that was asked for there is a result; and nothing is left.
func TestRun(t *testing.T) {
	testbed.Leaves(t)
	o := options(t, "")
	var told []Result
	o.Each = func(r Result) { told = append(told, r) }
	report, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range report.Results {
		t.Logf("%s: %s %.3f s %s", r.Name, r.State, r.Seconds, r.Note)
		if r.State == Missing && r.Note != "" && strings.Contains("foreign-abi abstract-sockets memory", r.Name) {
			continue
		}
		if r.State != OK || len(r.Found) > 0 || r.Remedy != "" {
			t.Errorf("%+v", r)
		}
	}
	if len(report.Results) != len(List()) || len(told) != len(List()) || !report.OK {
		t.Errorf("%d results, %d told, of %d checks; ok %v", len(report.Results), len(told), len(List()), report.OK)
	}
	if entries, err := os.ReadDir(o.Dir); len(entries) > 0 || err != nil {
		t.Errorf("left: %v, %v", entries, err)
	}
	t.Logf("Linux %s, cgroup %s, %s: %d tries in %.1f s; remarks %v", report.Kernel, report.Cgroup, report.FileSystem, report.Tries, report.Seconds, report.Remarks)
}

// Of the checks that nobody has asked for nothing is told.
func TestRunSome(t *testing.T) {
	report, err := Run(t.Context(), options(t, "^(seccomp|kernel)$"))
	if err != nil {
		t.Fatal(err)
	}
	if len(report.Results) != 2 || report.Results[0].Name != "kernel" || report.Results[1].Name != "seccomp" {
		t.Errorf("%+v", report.Results)
	}
}

// When something is missing that every sandbox needs, no other check is made,
// and what is missing is told whether it was asked for or not.
func TestNothingRunsWithoutEssentials(t *testing.T) {
	for _, asked := range []string{"", "^seccomp$"} {
		report, err := run(t.Context(), options(t, asked), &bench{lack: func(f *facts) { f.Overlay = false }})
		if err != nil {
			t.Fatal(err)
		}
		if report.OK {
			t.Error("ok")
		}
		failed, later := false, false
		for _, r := range report.Results {
			switch {
			case r.Name == "overlayfs":
				failed = r.State == Failed && r.Remedy == "modprobe overlay"
			case failed:
				later = r.State == NotRun && r.Note == "needs overlayfs"
			}
		}
		if !failed || !later {
			t.Errorf("%q: %+v", asked, report.Results)
		}
	}
}

// What appears on the host between two checks, of a sandbox that was, is found by
// the last one.
func TestNothingLeft(t *testing.T) {
	testbed.Leaves(t)
	o, b := options(t, "^(sandbox|nothing-left)$"), &bench{}
	var cgroup string
	o.Each = func(r Result) {
		if r.Name == "sandbox" {
			cgroup = filepath.Join(pidsHierarchy(t), isolate.CgroupParent, b.used[0])
			if err := os.MkdirAll(cgroup, 0o755); err != nil {
				t.Fatal(err)
			}
		}
	}
	report, err := run(t.Context(), o, b)
	if err != nil {
		t.Fatal(err)
	}
	if last := report.Results[len(report.Results)-1]; report.OK || last.State != Failed || last.Found[0] != "cgroup "+cgroup {
		t.Errorf("%+v", last)
	}
	if err := os.Remove(cgroup); err != nil {
		t.Error(err)
	}
	_ = os.Remove(filepath.Dir(cgroup)) // unless it is another's
}

// A selftest that is interrupted ends, with the error that says so, and leaves
// nothing, whatever it is doing.
func TestInterrupted(t *testing.T) {
	testbed.Leaves(t)
	for _, check := range []string{"kernel", "sandbox", "pids", "cpu", "neighbour"} {
		ctx, cancel := context.WithCancel(t.Context())
		o := options(t, "^"+check+"$")
		b := &bench{launched: func(*isolate.Sandbox) { cancel() }}
		if check == "kernel" {
			o.Each = func(Result) { cancel() }
		}
		if _, err := run(ctx, o, b); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", check, err)
		}
		cancel()
		if entries, err := os.ReadDir(o.Dir); len(entries) > 0 || err != nil {
			t.Errorf("%s left %v, %v", check, entries, err)
		}
	}
}

// What a selftest has left that was killed is removed by the next one; what one
// has that still runs is not.
func TestSweep(t *testing.T) {
	testbed.Leaves(t)
	dir := t.TempDir()
	alive, err := newGround(dir)
	if err != nil {
		t.Fatal(err)
	}
	dead, err := newGround(dir)
	if err != nil {
		t.Fatal(err)
	}
	const id = "selftest-dead"
	if _, err := dead.layers.Create(id, rangeOf(0), nil); err != nil {
		t.Fatal(err)
	}
	cgroup := filepath.Join(pidsHierarchy(t), isolate.CgroupParent, id)
	if err := os.MkdirAll(cgroup, 0o755); err != nil {
		t.Fatal(err)
	}
	defer os.Remove(filepath.Dir(cgroup))
	if err := dead.work.Abandon(); err != nil { // as when it is killed
		t.Fatal(err)
	}
	if err := sweep(dir); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]bool{alive.dir: true, dead.dir: false, cgroup: false} {
		if _, err := os.Lstat(path); (err == nil) != want {
			t.Errorf("%s: %v", path, err)
		}
	}
	if err := alive.remove(); err != nil {
		t.Error(err)
	}
}

// pidsHierarchy is where cgroups with the pids controller are.
func pidsHierarchy(t *testing.T) string {
	t.Helper()
	for _, dir := range []string{"/sys/fs/cgroup/pids", "/sys/fs/cgroup"} {
		if unix.Access(filepath.Join(dir, "cgroup.procs"), unix.W_OK) == nil {
			return dir
		}
	}
	t.Fatal("no cgroups")
	return ""
}
