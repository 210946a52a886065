//go:build integration

package isolate_test

import (
	"errors"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gilliam/hypervisor/integration/testbed"
	"github.com/gilliam/hypervisor/isolate"
)

// Each rate is kept, by what the kernel has counted: however long it took, there
// is not more than the rate allows. Without limits the same commands end.
func TestIORates(t *testing.T) {
	const (
		write   = "dd if=/dev/zero of=/var/tmp/x oflag=direct bs=64k count=1024 2>&1"
		small   = "dd if=/dev/zero of=/var/tmp/x oflag=direct bs=4k count=4096 2>&1"
		read    = write + "; dd if=/var/tmp/x of=/dev/null iflag=direct bs=64k 2>&1"
		rdSmall = write + "; dd if=/var/tmp/x of=/dev/null iflag=direct bs=4k 2>&1"
	)
	for _, c := range []struct {
		what, line  string
		limits      isolate.IOLimits
		rate, until int64 // per second; counted when the test has seen enough
		slack       int64 // what the kernel lets through at once
	}{
		{"bytes written", write, isolate.IOLimits{WriteBPS: 4 << 20}, 4 << 20, 6 << 20, 1 << 20},
		{"bytes read", read, isolate.IOLimits{ReadBPS: 4 << 20}, 4 << 20, 6 << 20, 1 << 20},
		{"writes", small, isolate.IOLimits{WriteIOPS: 100}, 100, 150, 30},
		{"reads", rdSmall, isolate.IOLimits{ReadIOPS: 100}, 100, 150, 30},
	} {
		s := spec(t, sh(c.line+"; echo end")...)
		free, err := launch(t, testbed.Engine(t), s)
		must(t, err)
		if text, exit := free.finish(t); !strings.HasSuffix(text, "end\n") || exit.Code != 0 {
			t.Fatalf("%s without a limit: %+v %s", c.what, exit, text)
		}
		// What is written to a layer in an image is the sandbox's as well.
		for _, s := range []isolate.Spec{spec(t, sh(c.line)...), limited(t, isolate.Limits{Disk: 256 << 20}, sh(c.line)...)} {
			s.Limits.IO = c.limits
			start := time.Now()
			e := testbed.Engine(t)
			r, err := launch(t, e, s)
			must(t, err)
			var counted int64
			testbed.Within(t, time.Minute, c.what+" counted", func() bool {
				counted = countIO(t, r.ID(), e.Host().Disk.Device)[c.what]
				return counted >= c.until
			})
			if most := c.slack + int64(float64(c.rate)*time.Since(start).Seconds()); counted > most {
				t.Errorf("%d %s, want at most %d a second and so %d (%v)", counted, c.what, c.rate, most, s.Layer)
			}
			must(t, r.Destroy())
		}
	}
}

// countIO is what the kernel has counted of a sandbox's I/O on a disk. A loop device
// that is on it counts for itself.
func countIO(t *testing.T, id string, disk isolate.BlockDevice) map[string]int64 {
	t.Helper()
	counted := make(map[string]int64)
	add := func(what, number string) {
		n, err := strconv.ParseInt(number, 10, 64)
		must(t, err)
		counted[what] += n
	}
	path := cgroupDir(t, id, "blkio")
	if stat, err := os.ReadFile(path + "/io.stat"); err == nil {
		names := map[string]string{"rbytes": "bytes read", "wbytes": "bytes written", "rios": "reads", "wios": "writes"}
		for line := range strings.Lines(string(stat)) {
			fields := strings.Fields(line)
			for _, field := range fields[min(1, len(fields)):] {
				if key, number, ok := strings.Cut(field, "="); ok && names[key] != "" && fields[0] == disk.String() {
					add(names[key], number)
				}
			}
		}
		return counted
	}
	for file, names := range map[string]map[string]string{
		"/blkio.throttle.io_service_bytes": {"Read": "bytes read", "Write": "bytes written"},
		"/blkio.throttle.io_serviced":      {"Read": "reads", "Write": "writes"},
	} {
		stat, err := os.ReadFile(path + file)
		must(t, err)
		for line := range strings.Lines(string(stat)) {
			if f := strings.Fields(line); len(f) == 3 && names[f[1]] != "" && f[0] == disk.String() {
				add(names[f[1]], f[2])
			}
		}
	}
	return counted
}

// A sandbox that has more I/O under way than its rate lets through in minutes ends
// when it is killed.
func TestKillEndsHeldBackIO(t *testing.T) {
	testbed.Leaves(t)
	s := spec(t, sh("dd if=/dev/zero of=/var/tmp/x oflag=direct bs=8M count=1")...)
	s.Limits.IO.WriteBPS = 64 << 10 // 128 s
	r, err := launch(t, testbed.Engine(t), s)
	must(t, err)
	testbed.Within(t, time.Minute, "writes", func() bool { return asksToWrite(t, r.ID()) })
	r.Kill()
	testbed.Within(t, 20*time.Second, "end", func() bool {
		select {
		case <-r.Done():
			return true
		default:
			return false
		}
	})
}

// asksToWrite tells whether a process of the sandbox has asked for much to be
// written. The cgroup cannot tell: v2 counts a write when it is let through.
func asksToWrite(t *testing.T, id string) bool {
	t.Helper()
	procs, err := os.ReadFile(cgroupDir(t, id, "blkio") + "/cgroup.procs")
	must(t, err)
	for pid := range strings.FieldsSeq(string(procs)) {
		counts, err := os.ReadFile("/proc/" + pid + "/io")
		if err != nil {
			continue // it has ended
		}
		_, written, ok := strings.Cut(string(counts), "\nwrite_bytes: ")
		if !ok {
			t.Fatalf("this kernel counts no I/O of processes: %s", counts)
		}
		written, _, _ = strings.Cut(written, "\n")
		n, err := strconv.Atoi(written)
		must(t, err)
		if n > 1<<20 {
			return true
		}
	}
	return false
}

// Of two that contend for one CPU, the heavier gets more of it.
func TestCPUWeight(t *testing.T) {
	e := testbed.Engine(t)
	var boxes []*running
	for n, weight := range []int64{1000, 100} {
		s := spec(t, sh("echo up; exec taskset -c 0 /bin/bash -c 'while :; do :; done'")...)
		s.Limits.CPUWeight = weight
		s.IDs.Base -= uint32(n) * s.IDs.Size
		r, err := launch(t, e, s)
		must(t, err)
		boxes = append(boxes, r)
	}
	for _, r := range boxes {
		r.line(t)
	}
	used := func(n int) time.Duration {
		u, err := boxes[n].Usage()
		must(t, err)
		return u.CPU
	}
	heavy, light := used(0), used(1)
	testbed.Within(t, time.Minute, "two seconds of CPU", func() bool { return used(0)-heavy+used(1)-light > 2*time.Second })
	heavy, light = used(0)-heavy, used(1)-light
	if heavy < 3*light {
		t.Errorf("with ten times the weight: %v beside %v", heavy, light)
	}
}

// File systems in memory have a limit of files, which are kernel memory.
func TestFilesInMemory(t *testing.T) {
	s := spec(t, "/usr/bin/python3", "-c", `
import itertools
try:
    for n in itertools.count():
        open("/tmp/%d" % n, "w").close()
except OSError as e:
    print(n, e.strerror)`)
	s.Limits.Memory = 64 << 20
	r, err := launch(t, testbed.Engine(t), s)
	must(t, err)
	text, _ := r.finish(t)
	if want := "8191 No space left on device\n"; text != want { // and the root's own inode
		t.Errorf("got %q, want %q", text, want)
	}
}

// What is asked for is what each process has.
func TestRlimitsAsked(t *testing.T) {
	s := spec(t, sh(`for r in n l u; do ulimit -S$r; ulimit -H$r; done; ulimit -n 65 2>/dev/null && echo raised
		(exec 2>/dev/null; head -c 20m /dev/zero >/dev/shm/x; kill -l $?); stat -c %s /dev/shm/x`)...)
	s.Limits.Rlimits = isolate.ProcessLimits{Nofile: 64, Nproc: 20, Memlock: 1 << 20, Fsize: 16 << 20}
	r, err := launch(t, testbed.Engine(t), s)
	must(t, err)
	text, _ := r.finish(t)
	if want := "64\n64\n1024\n1024\n20\n20\nXFSZ\n16777216\n"; text != want {
		t.Errorf("got %q, want %q", text, want)
	}
}

// sandbox-init has the program's limits and keeps its output all the same.
func TestRlimitsLeaveTheLogAlone(t *testing.T) {
	e := testbed.Engine(t)
	s := spec(t, sh("head -c 20m /dev/zero | tr '\\0' x; echo; echo end")...)
	s.Limits.Rlimits = isolate.ProcessLimits{Nofile: 64, Nproc: 8, Fsize: 16 << 20}
	plan, err := isolate.NewPlan(s, e.Host())
	must(t, err)
	k := &kept{t: t, keep: isolate.Keep{Dir: t.TempDir(), Segment: 16<<20 + 1}}
	var bad *isolate.SpecError
	if _, err := e.Launch(t.Context(), plan, isolate.IO{Keep: &k.keep}); !errors.As(err, &bad) || bad.Field != "Limits.Rlimits.Fsize" {
		t.Errorf("a log that may be larger than a file: %v", err)
	}
	k.keep.Segment = 16 << 20
	box, err := e.Launch(t.Context(), plan, isolate.IO{Keep: &k.keep})
	must(t, err)
	t.Cleanup(func() { must(t, box.Destroy()) })
	if exit := box.Wait(); exit.Code != 0 || exit.Err != nil {
		t.Errorf("%+v", exit)
	}
	if got := k.log(); !strings.HasSuffix(got, "\nend\n") {
		t.Errorf("%d bytes of log end in %q", len(got), got[max(0, len(got)-10):])
	}
}

// Where the kernel cannot limit swap, a v1 cgroup is at least not to swap; the
// launch verifies it.
func TestNoSwapLimit(t *testing.T) {
	host, err := isolate.Probe()
	must(t, err)
	host.SwapLimit = false
	e, err := isolate.NewEngine(host)
	must(t, err)
	t.Cleanup(func() { must(t, e.Close()) })
	r, err := launch(t, e, spec(t, sh("echo up; sleep 1000")...))
	must(t, err)
	r.line(t)
	if host.Cgroup == isolate.CgroupV2 {
		return // it has no such setting
	}
	b, err := os.ReadFile(cgroupFile(t, r.ID(), "memory", "memory.swappiness"))
	if must(t, err); string(b) != "0\n" {
		t.Errorf("swappiness %q", b)
	}
}

// Weights of the disk reach the kernel, where one is shared by weight; the launch
// verifies it.
func TestIOWeight(t *testing.T) {
	host, err := isolate.Probe()
	must(t, err)
	host.Disk.Weight = isolate.WeightBFQ
	if host.Cgroup == isolate.CgroupV2 {
		host.Disk.Weight = isolate.WeightIOCost
	}
	e, err := isolate.NewEngine(host)
	must(t, err)
	t.Cleanup(func() { must(t, e.Close()) })
	s := spec(t, sh("echo up; sleep 1000")...)
	s.Limits.IO.Weight = 5050
	r, err := launch(t, e, s)
	must(t, err)
	r.line(t)
}

func TestPidsLimit(t *testing.T) {
	const forks = `
import os, signal
n = 0
try:
    while n < 100:
        if os.fork() == 0:
            signal.pause()
        n += 1
except BlockingIOError:
    pass
print(n)`
	s := spec(t, "/usr/bin/python3", "-c", forks)
	s.Limits.Pids = 20
	r, err := launch(t, testbed.Engine(t), s)
	if err != nil {
		t.Fatal(err)
	}
	text, exit := r.finish(t)
	n, err := strconv.Atoi(strings.TrimSpace(text))
	if err != nil || n < 5 || n >= 20 || exit.Code != 0 {
		t.Errorf("%q children under a limit of 20, %+v", text, exit)
	}
}
