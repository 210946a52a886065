//go:build integration

package selftest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/gilliam/hypervisor/integration/testbed"
	"github.com/gilliam/hypervisor/isolate"
	"github.com/gilliam/hypervisor/isolate/selftest/attacks"
)

// A fault is what is wrong with the sandboxes of a selftest.
type fault struct {
	spoil    func(*isolate.Plan)    // plans are weakened
	launched func(*isolate.Sandbox) // sandboxes are changed

	// Attacks are made without a sandbox: who makes them, and what the attack is
	// told in addition.
	bare *syscall.SysProcAttr
	more string

	ids []isolate.IDRange // these are the ranges

	sees string // part of what the check must have found

	missing func(facts) bool // tells of machines that lack what it is about; nil: none
}

// faults has at least one for every check that launches a sandbox.
var faults = map[string][]fault{
	"sandbox": {{spoil: func(p *isolate.Plan) {
		changeStep(p, func(s isolate.MountRoot) isolate.Step { s.Lowers = []string{"/sys"}; return s })
	}, sees: "cannot be idmapped"}},
	"identity":       {{spoil: func(p *isolate.Plan) { p.User = isolate.User{UID: 1001, GID: 1000} }, sees: "self Uid"}},
	"ids":            {{spoil: func(p *isolate.Plan) { p.IDs = rangeOf(2) }, sees: "uid_map"}},
	"capabilities":   {{spoil: func(p *isolate.Plan) { p.Capabilities = []string{"CAP_CHOWN"} }, sees: "self CapEff"}},
	"no-new-privs":   {{bare: testbed.AsUser(), sees: "self NoNewPrivs"}},
	"seccomp":        {{bare: testbed.AsUser(), sees: "child Seccomp"}},
	"setuid":         {{bare: testbed.AsRootOfNamespaces(), sees: "own 4755"}},
	"environment":    {{spoil: func(p *isolate.Plan) { p.Env = append(p.Env, "TOKEN=x") }, sees: "TOKEN=x"}, {bare: testbed.AsUser(), sees: "own"}},
	"signals":        {{bare: testbed.AsUser(), sees: "SigIgn"}},
	"read-back":      {{launched: changeScore, sees: "oom_score_adj"}},
	"system-calls":   {{bare: testbed.AsRootOfNamespaces(), sees: "userfaultfd: it works"}},
	"sockets":        {{bare: testbed.AsRootOfNamespaces(), sees: "AF_PACKET: it works"}},
	"socket-filters": {{bare: testbed.AsUser(), sees: "SO_ATTACH_FILTER: it works"}},
	"foreign-abi":    {{bare: testbed.AsUser(), sees: "x32: it works"}, {bare: testbed.AsUser(), sees: "int 0x80: it works"}},
	"terminal-input": {{bare: testbed.AsUser(), sees: "TIOCSTI"}},
	"new-namespaces": {{bare: testbed.AsRootOfNamespaces(), sees: "unshare user: it works"}},
	"namespaces":     {{bare: testbed.AsUser(), sees: "the host's mnt namespace: it works"}},
	"network":        {{spoil: func(p *isolate.Plan) { p.Network = isolate.NetworkHost }, sees: "connect 127.0.0.1"}},
	"abstract-sockets": {{spoil: func(p *isolate.Plan) { p.Scoped = false }, sees: "connect @gilliam-selftest",
		missing: func(f facts) bool { return f.Landlock < 6 }}},
	"pid-1":   {{bare: testbed.AsRootOfNamespaces(), sees: "pid1 environ: it works"}},
	"runtime": {{bare: testbed.AsRootOfNamespaces(), sees: "list /proc/1/fd: it works"}},
	"masks": {{spoil: func(p *isolate.Plan) { p.Masked = nil }, sees: "another file at /proc/kallsyms"},
		{bare: testbed.AsRoot(), sees: "list /sys/firmware: it works"}},
	"kernel-settings": {{bare: testbed.AsRoot(), more: "existing", sees: "open /proc/sys/kernel/core_pattern: it works"}},
	"mounts":          {{bare: testbed.AsRootOfNamespaces(), sees: "mount tmpfs: it works"}},
	"cgroup-tree":     {{bare: testbed.AsRootOfNamespaces(), sees: "mount cgroup2: it works"}},
	"escape":          {{bare: testbed.AsRoot(), sees: "through /proc/1/root: it works"}},
	"descriptors":     {{bare: testbed.AsUser(), sees: "inherited: got"}},
	"devices": {{spoil: func(p *isolate.Plan) {
		p.Steps = append(p.Steps[:3:3], append([]isolate.Step{isolate.Device{Path: "/dev/more", Major: 1, Minor: 98}}, p.Steps[3:]...)...)
	}, sees: "fd full more mqueue"}, {spoil: func(p *isolate.Plan) {
		changeStep(p, func(s isolate.MountRoot) isolate.Step { s.Flags &^= isolate.NoDev; return s })
	}, sees: "open added /lib/zero: it works"}},
	"device-rules": {{spoil: func(p *isolate.Plan) {
		p.Cgroup.Devices = append(slices.Clone(p.Cgroup.Devices), isolate.DeviceRule{Major: 1, Minor: 99})
	}, sees: "ENXIO"}},
	"template-files": {{spoil: func(p *isolate.Plan) { p.User = isolate.User{} }, sees: "write /etc/passwd: it works"}},
	"layer": {{spoil: func(p *isolate.Plan) { _ = os.WriteFile(p.Root+"/etc/more", nil, 0o644) }, sees: "etc/more is new"},
		{spoil: func(p *isolate.Plan) { _ = os.WriteFile(p.Root+rootsFile, []byte("x"), 0o644) }, sees: "etc/passwd holds something else"},
		{spoil: func(p *isolate.Plan) { p.User = isolate.User{UID: 7, GID: 7} }, sees: "/var/tmp/own is not of user"}},
	"rlimits": {{spoil: func(p *isolate.Plan) { changeLimit(p, "nofile", 77) }, sees: "hard nofile"}},
	"memory":  {{spoil: func(p *isolate.Plan) { p.Cgroup.Memory, p.Cgroup.MemorySwap = 1<<30, 1<<30 }, sees: "it took 64 MiB"}},
	"volume": {{spoil: func(p *isolate.Plan) {
		changeStep(p, func(s isolate.MountVolume) isolate.Step { s.Flags |= isolate.ReadOnly; return s })
	}, sees: "the first one writes to it", missing: func(f facts) bool { return f.NoDiskLimit != "" }}},
	"pids":      {{spoil: func(p *isolate.Plan) { p.Cgroup.Pids = 1000; changeLimit(p, "nproc", 1000) }, sees: "it made \"200\" processes"}},
	"disk":      {{bare: testbed.AsUser(), sees: "write in /var/tmp: it works"}},
	"cpu":       {{spoil: func(p *isolate.Plan) { p.Cgroup.CPUQuota = 0 }, sees: "never waited"}},
	"processes": {{bare: testbed.AsUser(), sees: "see "}},
	"neighbour": {{ids: []isolate.IDRange{rangeOf(0), rangeOf(0)}, sees: "both have the uid_map"}},
	"command":   {{bare: testbed.AsUser(), sees: "privileges: self NoNewPrivs"}},
	"kill":      {{spoil: func(p *isolate.Plan) { p.Args = []string{probePath, "sleep"} }, sees: "the probe said"}},
}

// Every check fails where what it promises does not hold, and says so.
func TestFaults(t *testing.T) {
	for name, list := range faults {
		for i, f := range list {
			t.Run(fmt.Sprintf("%s-%d", name, i), func(t *testing.T) {
				testbed.Leaves(t)
				o := options(t, "^"+name+"$")
				if f.ids != nil {
					o.Lease = fixed(f.ids...)
				}
				b := &bench{spoil: f.spoil, launched: f.launched}
				if f.bare != nil {
					b.bare = bare(t, f)
				}
				report, err := run(t.Context(), o, b)
				if err != nil {
					t.Fatal(err)
				}
				if len(report.Results) == 0 {
					t.Fatal("no results")
				}
				last := report.Results[len(report.Results)-1]
				if f.missing != nil && f.missing(b.facts) {
					if last.Name != name || last.State != Missing || last.Note == "" {
						t.Errorf("got %+v", last)
					}
					return
				}
				if report.OK {
					t.Fatalf("nothing was noticed: %+v", last)
				}
				if last.Name != name || last.State != Failed || last.Remedy == "" || !strings.Contains(strings.Join(last.Found, "\n"), f.sees) {
					t.Errorf("want %q, got %+v", f.sees, last)
				}
				t.Logf("%s: %s", name, last.Found[0])
			})
		}
	}
}

// bare makes attacks without a sandbox.
func bare(t *testing.T, f fault) func(context.Context, []string) (attacks.Report, error) {
	tmp := filepath.Join(tools, "tmp")
	if err := os.MkdirAll(tmp, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(tmp, 0o1777|os.ModeSticky); err != nil {
		t.Fatal(err)
	}
	return func(_ context.Context, args []string) (attacks.Report, error) {
		if f.bare.Cloneflags != 0 {
			args = append([]string{"-fresh"}, args...)
		}
		if f.more != "" {
			args = append(args, f.more)
		}
		return testbed.Bare(t, filepath.Join(tools, "probe"), tmp, f.bare, args...), nil
	}
}

// changeStep replaces the steps of one type.
func changeStep[T isolate.Step](p *isolate.Plan, change func(T) isolate.Step) {
	p.Steps = slices.Clone(p.Steps)
	for i, s := range p.Steps {
		if s, ok := s.(T); ok {
			p.Steps[i] = change(s)
		}
	}
}

func changeLimit(p *isolate.Plan, name string, to uint64) {
	p.Rlimits = slices.Clone(p.Rlimits)
	for i := range p.Rlimits {
		if p.Rlimits[i].Name == name {
			p.Rlimits[i].Soft, p.Rlimits[i].Hard = to, to
		}
	}
}

// changeScore changes the oom_score_adj of a sandbox's PID 1: that of its program is
// the program's own to raise.
func changeScore(s *isolate.Sandbox) {
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/oom_score_adj", s.PID()), []byte("300"), 0); err != nil {
		panic(err)
	}
}

// Every check has a fault, or is about the machine alone, or is the last one.
func TestFaultsAreComplete(t *testing.T) {
	for _, c := range checks() {
		host := slices.ContainsFunc(hostChecks(), func(h check) bool { return h.name == c.name })
		if _, ok := faults[c.name]; !ok && !host && c.name != nothingLeft.name {
			t.Errorf("nobody has seen %s fail", c.name)
		}
	}
}

// What is left of a sandbox is found: a cgroup, a process in it, a mount, a folder.
func TestLeft(t *testing.T) {
	testbed.Leaves(t)
	const id = "selftest-left"
	cgroup := filepath.Join(pidsHierarchy(t), isolate.CgroupParent, id)
	if err := os.MkdirAll(cgroup, 0o755); err != nil {
		t.Fatal(err)
	}
	process, err := os.StartProcess(filepath.Join(tools, "probe"), []string{"probe", "sleep"}, &os.ProcAttr{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = process.Kill()
		_, err := process.Wait()
		if err := errors.Join(err, os.Remove(cgroup)); err != nil {
			t.Error(err)
		}
		_ = os.Remove(filepath.Dir(cgroup)) // unless it is another's
	}()
	if err := os.WriteFile(filepath.Join(cgroup, "cgroup.procs"), fmt.Append(nil, process.Pid), 0); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	var found []string
	err = testbed.OnThread(func() error {
		if err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS); err != nil {
			return err
		}
		if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
			return err
		}
		err := unix.Mount("tmpfs", dir, "tmpfs", 0, "")
		found = left([]string{id, "selftest-none"}, dir)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Join(found, "\n")
	for _, want := range []string{"cgroup " + cgroup, fmt.Sprintf("process %d of %s", process.Pid, id), "folder " + dir, "mount "} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not found: %q", want, found)
		}
	}
	if clean := left([]string{"selftest-none"}, filepath.Join(dir, "none")); len(clean) > 0 {
		t.Errorf("found where there is nothing: %q", clean)
	}
}
