//go:build integration

package attack

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gilliam/hypervisor/integration/testbed"
	"github.com/gilliam/hypervisor/isolate"
)

// patience is how long the end of a sandbox may take that resists it.
const patience = 30 * time.Second

// T25: a program that crashes leaves no core, in the sandbox or on the host.
// Control: with a core limit as high as the daemon's it leaves one in its working
// directory, unless the host pipes cores away or the daemon may make none.
func TestCrash(t *testing.T) {
	crash := func(spoil func(*isolate.Plan)) []string {
		s := spec(t, "crash", "/var/tmp")
		b := start(t, testbed.Engine(t), s, spoil)
		b.report(t)
		if exit := b.ended(t, deadline); exit.Code != 139 || exit.Signal != int(syscall.SIGSEGV) {
			t.Errorf("%+v", exit)
		}
		var cores []string
		for _, dir := range []string{filepath.Join(s.Layer.Upper, "var/tmp"), s.Layer.Upper, tools, ".", "/"} {
			found, err := filepath.Glob(filepath.Join(dir, "core*"))
			if err != nil {
				t.Fatal(err)
			}
			cores = append(cores, found...)
		}
		return cores
	}
	if cores := crash(nil); len(cores) > 0 {
		t.Errorf("left %v", cores)
	}
	pattern, err := os.ReadFile("/proc/sys/kernel/core_pattern")
	if err != nil {
		t.Fatal(err)
	}
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_CORE, &limit); err != nil {
		t.Fatal(err)
	}
	if limit.Max == 0 || !strings.HasPrefix(string(pattern), "core") {
		t.Logf("no control: core limit %d, core_pattern %s", limit.Max, pattern)
		return
	}
	cores := crash(func(p *isolate.Plan) { p.Rlimits = withLimit(p.Rlimits, unix.RLIMIT_CORE, limit.Max) })
	if len(cores) == 0 {
		t.Error("control: no core")
	}
}

// withLimit is a plan's limits with one changed, soft and hard.
func withLimit(limits []isolate.Rlimit, resource int, value uint64) []isolate.Rlimit {
	var all []isolate.Rlimit
	for _, l := range limits {
		if l.Resource == resource {
			l.Soft, l.Hard = value, value
		}
		all = append(all, l)
	}
	return all
}

// T53: a fork bomb ends at the limit, and with the sandbox. The cgroup and the
// rlimit are two fences: each holds alone. Control: without both it makes as many
// as it was told to.
func TestForkBomb(t *testing.T) {
	const limit, bomb = 40, 200
	cgroupOff := func(p *isolate.Plan) { p.Cgroup.Pids = 4 * bomb }
	rlimitOff := func(p *isolate.Plan) { p.Rlimits = withLimit(p.Rlimits, unix.RLIMIT_NPROC, 4*bomb) }
	for _, c := range []struct {
		name   string
		change []func(*isolate.Plan)
		worked bool
	}{
		{"both fences", nil, false},
		{"pids cgroup alone", []func(*isolate.Plan){rlimitOff}, false},
		{"RLIMIT_NPROC alone", []func(*isolate.Plan){cgroupOff}, false},
		{"control", []func(*isolate.Plan){cgroupOff, rlimitOff}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			testbed.Leaves(t)
			s := spec(t, "forkbomb", strconv.Itoa(bomb))
			s.Limits.Pids = limit
			b := start(t, testbed.Engine(t), s, c.change...)
			got := b.report(t)
			made, err := strconv.Atoi(got.Detail["made"])
			if err != nil {
				t.Fatal(err)
			}
			if (got.Result == "worked") != c.worked || (made == bomb) != c.worked || !c.worked && made >= limit {
				t.Errorf("made %d of %d: %v", made, bomb, got)
			}
			kill(t, b)
		})
	}
}

// kill ends a sandbox that resists, in time, and finds nothing left of it.
func kill(t *testing.T, b *box) {
	t.Helper()
	init := b.PID()
	space, err := os.Readlink("/proc/" + strconv.Itoa(init) + "/ns/pid")
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	b.Kill()
	b.ended(t, patience)
	t.Logf("gone in %v", time.Since(began).Round(time.Millisecond))
	all, err := filepath.Glob("/proc/[0-9]*/ns/pid")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range all {
		if ns, err := os.Readlink(path); err == nil && ns == space {
			t.Errorf("%s is left", path)
		}
	}
}

// T62: whatever keeps a process alive does not keep a sandbox alive: signals
// ignored, stopped processes, orphans in sessions of their own, and processes
// that fork faster than they can be looked for.
func TestStubborn(t *testing.T) {
	testbed.Leaves(t)
	e := testbed.Engine(t)
	t.Logf("cgroup %s", e.Host().Cgroup)
	swarm := func(args ...string) isolate.Spec {
		s := spec(t, args...)
		s.Limits.Pids = 1024 // on a busy machine the dead wait to be collected, and the probe needs threads
		return s
	}
	b := start(t, e, swarm("stubborn"))
	b.report(t)
	// The control: it does live on when it is asked to end.
	for _, sig := range []syscall.Signal{syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM} {
		if err := b.Signal(sig); err != nil {
			t.Fatal(err)
		}
	}
	if got := b.report(t); got.Detail["asked to end"] != "no" || !b.alive() {
		t.Errorf("control: %v", got)
	}
	kill(t, b)

	storm := start(t, e, swarm("chain", "30"))
	storm.report(t)
	kill(t, storm)

	// The end of the program is the end of all that it left.
	for _, sig := range []syscall.Signal{syscall.SIGSTOP, syscall.SIGKILL} {
		b := start(t, e, swarm("chain", "5"))
		b.report(t)
		if err := b.Signal(sig); err != nil {
			t.Fatal(err)
		}
		if sig == syscall.SIGKILL {
			b.ended(t, patience)
		} else {
			kill(t, b)
		}
	}
}

// T63: PID 1 collects what the app's children leave behind. Control: a program
// that takes its orphans upon itself and does not collect them.
func TestZombies(t *testing.T) {
	s := spec(t, "zombies")
	s.Limits.Pids = 512
	if got := once(t, s); got.Detail["zombies"] != "no" {
		t.Errorf("%v", got)
	}
	s = spec(t, "zombies", "keep")
	s.Limits.Pids = 512
	if got := once(t, s); got.Detail["zombies"] != "ok" {
		t.Errorf("control: %v", got)
	}
}

// T58: as many files as the limit says, and the host has plenty left. Control:
// another limit, another number.
func TestOpenFiles(t *testing.T) {
	const most = 1 << 20
	got := func(hard uint64) int {
		b := start(t, testbed.Engine(t), spec(t, "open-files", strconv.Itoa(most)), func(p *isolate.Plan) {
			if hard > 0 {
				p.Rlimits = withLimit(p.Rlimits, unix.RLIMIT_NOFILE, hard)
			}
		})
		r := b.report(t)
		n, err := strconv.Atoi(r.Detail["opened"])
		if err != nil || r.Detail["as many files as it likes"] != "EMFILE" {
			t.Errorf("%v", r)
		}
		defer b.end(t)
		var used, free, all int64
		text, err := os.ReadFile("/proc/sys/fs/file-nr")
		if err != nil {
			t.Fatal(err)
		}
		for i, field := range strings.Fields(string(text)) {
			value, err := strconv.ParseInt(field, 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			*[]*int64{&used, &free, &all}[i] = value
		}
		if used > all/10 {
			t.Errorf("%d of the host's %d files are used", used, all)
		}
		return n
	}
	if n := got(0); n < 1000 || n > 16384 {
		t.Errorf("opened %d", n)
	}
	if n := got(100); n < 80 || n > 100 {
		t.Errorf("control: opened %d under a limit of 100", n)
	}
}
