//go:build integration

package isolate_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/gilliam/hypervisor/integration/testbed"
	"github.com/gilliam/hypervisor/isolate"
)

// Somebody changes a sandbox behind the hypervisor's back, one thing at a time:
// each is seen, and nothing else is.
func TestVerifySeesWhatChanged(t *testing.T) {
	// What the program may change itself is no difference.
	r, err := launch(t, testbed.Engine(t), spec(t, sh("umask 0; ulimit -n $(ulimit -Hn); echo 500 >/proc/self/oom_score_adj; echo $$; sleep 1000")...))
	if err != nil {
		t.Fatal(err)
	}
	pid := hostPID(t, r.PID(), r.line(t))
	proc := filepath.Join("/proc", strconv.Itoa(pid))
	if got := facts(t, r); len(got) > 0 {
		t.Errorf("the program changed what it may: %q", got)
	}
	weight, share := "cgroup cpu.weight", "cpu.weight"
	if testbed.Engine(t).Host().Cgroup != isolate.CgroupV2 {
		weight, share = "cgroup cpu.shares", "cpu.shares"
	}
	for _, c := range []struct {
		fact   string
		change func() error
	}{
		{weight, func() error { return os.WriteFile(cgroupFile(t, r.ID(), "cpu", share), []byte("500"), 0) }},
		{"rlimit nofile", func() error {
			return unix.Prlimit(pid, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 77, Max: 77}, nil)
		}},
		{"oom_score_adj", func() error { return os.WriteFile(fmt.Sprintf("/proc/%d/oom_score_adj", r.PID()), []byte("300"), 0) }},
		{"cgroup pids", func() error { return os.WriteFile(cgroupFile(t, r.ID(), "pids", "pids.max"), []byte("max"), 0) }},
		{"hostname", func() error {
			return inNamespace(proc+"/ns/uts", unix.CLONE_NEWUTS, func() error { return unix.Sethostname([]byte("else")) })
		}},
		{"mask /proc/kallsyms", func() error {
			return inNamespace(proc+"/ns/mnt", unix.CLONE_NEWNS, func() error { return unix.Unmount("/proc/kallsyms", unix.MNT_DETACH) })
		}},
		{"read-only /proc/sys", func() error {
			return inNamespace(proc+"/ns/mnt", unix.CLONE_NEWNS, func() error { return unix.Unmount("/proc/sys", unix.MNT_DETACH) })
		}},
		{"options /tmp", func() error {
			return inNamespace(proc+"/ns/mnt", unix.CLONE_NEWNS, func() error {
				return unix.Mount("", "/tmp", "", unix.MS_REMOUNT|unix.MS_NOSUID|unix.MS_NODEV, "size=1m")
			})
		}},
		{"mount /mnt", func() error {
			return inNamespace(proc+"/ns/mnt", unix.CLONE_NEWNS, func() error { return unix.Mount("tmpfs", "/mnt", "tmpfs", 0, "") })
		}},
	} {
		before := facts(t, r)
		if slices.Contains(before, c.fact) {
			t.Fatalf("%s differs before it is changed", c.fact)
		}
		if err := c.change(); err != nil {
			t.Fatalf("%s: %v", c.fact, err)
		}
		after := facts(t, r)
		if !slices.Contains(after, c.fact) || len(after) != len(before)+1 {
			t.Errorf("%s was changed: %q", c.fact, after)
		}
	}
	r.Kill()
	r.finish(t)
	if _, err := r.Verify(); !errors.Is(err, isolate.ErrEnded) {
		t.Errorf("after the end: %v", err)
	}
}

// Several may verify at once, while the program and PID 1 work: neither notices.
func TestVerifyAtOnce(t *testing.T) {
	r := sleeper(t)
	var all sync.WaitGroup
	for range 10 {
		all.Go(func() {
			if diff, err := r.Verify(); len(diff) > 0 || err != nil {
				t.Errorf("%v %v", diff, err)
			}
			if text, exit := command(t, r, "", "echo here"); text != "here\n" || exit.Code != 0 {
				t.Errorf("%q %+v", text, exit)
			}
		})
	}
	all.Wait()
}

// A sandbox that was launched by another plan than it is held against differs in
// what the two plans do, the program of its seccomp filter and its PID 1 included.
func TestVerifyAnotherPlan(t *testing.T) {
	k := launchKept(t, "sleep 1000")
	k.verified()
	launched := k.plan
	for _, c := range []struct {
		change func(*isolate.Plan)
		want   []string
	}{
		{func(p *isolate.Plan) { p.Seccomp = &specs.LinuxSeccomp{DefaultAction: specs.ActAllow} }, []string{"seccomp program"}},
		{func(p *isolate.Plan) { p.Capabilities = []string{"CAP_LEASE"} }, []string{
			"capabilities ambient", "capabilities bounding", "capabilities effective", "capabilities inheritable", "capabilities permitted", "init"}},
		{func(p *isolate.Plan) { p.Umask = 0o77 }, []string{"umask"}},
		{func(p *isolate.Plan) { p.IDs.Base -= 1 << 20 }, []string{"gid", "gid_map", "session keyring", "uid", "uid_map"}},
	} {
		k.plan = launched
		c.change(&k.plan)
		k.adopt()
		diff, err := k.box.Verify()
		must(t, err)
		var names []string
		for _, d := range diff {
			names = append(names, d.Fact)
		}
		if !slices.Equal(names, c.want) {
			t.Errorf("got %q, want %q", names, c.want)
		}
	}
	k.plan = launched
	k.adopt()
	k.verified()
}

func facts(t *testing.T, r *running) []string {
	t.Helper()
	diff, err := r.Verify()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, d := range diff {
		names = append(names, d.Fact)
	}
	return names
}

// hostPID finds the process that is pid inside among the children of init.
func hostPID(t *testing.T, init int, inside string) int {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", init, init))
	if err != nil {
		t.Fatal(err)
	}
	for child := range strings.FieldsSeq(string(b)) {
		status, err := os.ReadFile(filepath.Join("/proc", child, "status"))
		if err == nil && strings.Contains(string(status), "\t"+inside+"\n") {
			pid, err := strconv.Atoi(child)
			if err != nil {
				t.Fatal(err)
			}
			return pid
		}
	}
	t.Fatalf("no child of %d is %s inside", init, inside)
	return 0
}

// cgroupFile is a file of the sandbox's cgroup, on any layout.
func cgroupFile(t *testing.T, id, controller, name string) string {
	t.Helper()
	return filepath.Join(cgroupDir(t, id, controller), name)
}

// cgroupDir is the sandbox's cgroup that has a controller of v1, on any layout.
func cgroupDir(t *testing.T, id, controller string) string {
	t.Helper()
	for _, dir := range []string{filepath.Join("/sys/fs/cgroup", controller), "/sys/fs/cgroup"} {
		path := filepath.Join(dir, isolate.CgroupParent, id)
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	t.Fatalf("no cgroup of %s", id)
	return ""
}

// inNamespace does something in another namespace, on a thread of its own.
func inNamespace(path string, kind int, do func() error) error {
	return testbed.OnThread(func() error {
		ns, err := os.Open(path)
		if err != nil {
			return err
		}
		defer ns.Close()
		if err := unix.Unshare(unix.CLONE_FS); err != nil {
			return err
		}
		if err := unix.Setns(int(ns.Fd()), kind); err != nil {
			return err
		}
		return do()
	})
}
