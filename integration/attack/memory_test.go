//go:build integration

package attack

import (
	"strconv"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/gilliam/hypervisor/integration/testbed"
	"github.com/gilliam/hypervisor/isolate"
)

// T54, T55: no way of taking memory gets a sandbox more than its limit: the OOM
// killer ends it, or the kernel says no; and the neighbour lives. Control: the
// same under a limit that is high enough.
func TestMemory(t *testing.T) {
	const small, size, large = 32, 64, 1024 // MiB
	e := testbed.Engine(t)
	tcp, udp := "cgroup v1 has its limit, but every connection may have some 40 KiB beyond", ""
	if e.Host().Cgroup == isolate.CgroupV2 {
		tcp, udp = "", "cgroup v2 charges what arrives whatever the limit is; net.ipv4.udp_mem bounds it, for all together"
	}
	neighbour := start(t, e, tenant(t, spec(t, "sleep"), 1))
	neighbour.report(t)
	for _, c := range []struct {
		kind    string
		refused string // the error that ends it before the OOM killer does
		known   string // why it works
		missing string // the error where this kernel has no such way
	}{
		{kind: "anonymous"},
		{kind: "tmp", refused: "ENOSPC"}, // half of the memory
		{kind: "shm"},
		{kind: "memfd"},
		{kind: "pipes", refused: "ENOMEM"},
		{kind: "unix"},
		{kind: "tcp", refused: "ENOBUFS", known: tcp},
		{kind: "udp", refused: "ENOBUFS", known: udp},
		{kind: "folders", refused: "ENOSPC"}, // as many as pages
		{kind: "sysv"},
		{kind: "messages"},
		{kind: "tables"},
		{kind: "arguments"},
		{kind: "xattrs", refused: "ENOSPC", missing: tmpfsWithoutXattrs(t)}, // 1 KiB a file
		{kind: "locks", known: "since Linux 5.15 the kernel charges record locks to nobody"},
		{kind: "netlink", known: "the kernel charges answers in netlink sockets to nobody; the number of files bounds them"},
	} {
		t.Run(c.kind, func(t *testing.T) {
			outcome, exit, peak := hoard(t, e, c.kind, size, small)
			if peak > (small+1)<<20 && c.known == "" { // a page or two may be over
				t.Errorf("%d bytes under a limit of %d MiB", peak, small)
			}
			switch {
			case c.missing != "" && outcome == c.missing:
				t.Logf("T55 %s: not in this kernel: %s", c.kind, outcome)
				return
			case exit.OOMKilled && outcome == "":
				if exit.Code != 137 {
					t.Errorf("%+v", exit)
				}
				outcome = "OOM"
			case outcome == "ok" && c.known != "":
				t.Logf("KNOWN: T55 %s: %d MiB under a limit of %d: %s", c.kind, size, small, c.known)
			case outcome != c.refused || outcome == "":
				t.Errorf("%q, %+v: %d MiB under a limit of %d", outcome, exit, size, small)
			}
			ctl, _, _ := hoard(t, e, c.kind, size, large)
			if ctl != "ok" {
				t.Errorf("control: %q", ctl)
			}
			t.Logf("T55 %s: %s; control: %s", c.kind, outcome, ctl)
			if !neighbour.alive() {
				t.Fatal("the neighbour is gone")
			}
		})
	}
}

// tmpfsWithoutXattrs is the error of keeping a user's attributes in memory, which
// tmpfs can since Linux 6.6.
func tmpfsWithoutXattrs(t *testing.T) string {
	t.Helper()
	fd, err := unix.MemfdCreate("xattrs", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	switch err := unix.Fsetxattr(fd, "user.x", []byte("x"), 0); err {
	case nil:
		return ""
	case unix.ENOTSUP:
		return "ENOTSUP"
	default:
		t.Fatal(err)
		return ""
	}
}

// hoard takes size MiB under a limit. It says how that ended, and how much memory
// was charged at most.
func hoard(t *testing.T, e *isolate.Engine, kind string, size, limit int) (outcome string, exit isolate.Exit, peak uint64) {
	t.Helper()
	s := spec(t, "memory", kind, strconv.Itoa(size))
	s.Limits.Memory, s.Limits.Pids = int64(limit)<<20, 512
	b := start(t, e, s)
	exit = b.ended(t, deadline)
	if line, err := b.out.ReadBytes('\n'); err == nil {
		if line[0] != '{' {
			t.Fatalf("%s", line)
		}
		outcome = decode(t, line).Detail[kind]
	}
	if u, err := b.Usage(); err == nil {
		peak = u.MemoryPeak
	}
	b.end(t)
	return outcome, exit, peak
}

// T56: what is not on disk has a size, and what is on disk is not memory.
// Control: less fits.
func TestDisk(t *testing.T) {
	e := testbed.Engine(t)
	for _, c := range []struct {
		kind          string
		size, limit   int // MiB
		outcome, what string
	}{
		{"tmp", 140, 256, "ENOSPC", "/tmp takes half of the memory"},
		{"tmp", 100, 256, "ok", "control"},
		{"shm", 70, 256, "ENOSPC", "/dev/shm takes 64 MiB"},
		{"shm", 50, 256, "ok", "control"},
		{"cache", 64, 32, "ok", "the page cache of a layer makes room"},
	} {
		got, exit, peak := hoard(t, e, c.kind, c.size, c.limit)
		if got != c.outcome || peak > uint64(c.limit+1)<<20 {
			t.Errorf("%s: %d MiB: %q, %+v, %d bytes", c.what, c.size, got, exit, peak)
		}
	}
}
