package isolate

import (
	"testing"

	"golang.org/x/sys/unix"
)

func TestCorePipe(t *testing.T) {
	for pattern, want := range map[string]string{
		"": "", "core": "", "/var/crash/core.%p": "",
		"|/usr/share/apport/apport -p%p -s%s": "/usr/share/apport/apport",
		"| /usr/lib/systemd/systemd-coredump": "/usr/lib/systemd/systemd-coredump",
	} {
		if got := corePipe(pattern); got != want {
			t.Errorf("%q: got %q, want %q", pattern, got, want)
		}
	}
}

func TestHasSwap(t *testing.T) {
	const heading = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"
	for swaps, want := range map[string]bool{
		"": false, heading: false, heading + "/dev/dm-1                               partition\t999420\t\t0\t\t-2\n": true,
	} {
		if got := hasSwap(swaps); got != want {
			t.Errorf("%q: got %v", swaps, got)
		}
	}
}

func TestHasCapabilities(t *testing.T) {
	const status = "CapPrm:\t000001ffffffffff\nCapEff:\t000001fffeffffff\nCapBnd:\t000001ffffffffff\n"
	if !hasEffective(status, unix.CAP_SYS_ADMIN, unix.CAP_SETPCAP) || hasEffective(status, unix.CAP_SYS_ADMIN, unix.CAP_SYS_RESOURCE) {
		t.Error("not CAP_SYS_RESOURCE alone lacks")
	}
	for _, bad := range []string{"", "CapEff:", "CapEff:\tx\n"} {
		if hasEffective(bad, unix.CAP_SYS_ADMIN) {
			t.Errorf("%q has CAP_SYS_ADMIN", bad)
		}
	}
}

func TestReadsFilters(t *testing.T) {
	const free, filtered = "NoNewPrivs:\t0\nSeccomp:\t0\nSeccomp_filters:\t0\n", "NoNewPrivs:\t0\nSeccomp:\t2\nSeccomp_filters:\t1\n"
	if !readsFilters(free, true, 2) {
		t.Error("cannot read")
	}
	for name, can := range map[string]bool{
		"filtered": readsFilters(filtered, true, 0), "no CONFIG_CHECKPOINT_RESTORE": readsFilters(free, false, 0),
		"ptrace forbidden": readsFilters(free, true, 3),
	} {
		if can {
			t.Errorf("%s: can read", name)
		}
	}
}
