//go:build integration

package isolate_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/gilliam/hypervisor/integration/testbed"
	"github.com/gilliam/hypervisor/isolate"
)

// A launch works wherever its descriptors lie, right below that of sandbox-init's
// executable too: the place behind the last one is where Go's fork puts a pipe.
func TestLaunchBesideExecutable(t *testing.T) {
	// With all places below full, the executable gets the second of two that are
	// free, and the first is free again afterwards; unless something else let go of
	// one meanwhile.
	var below []*os.File
	var e *isolate.Engine
	var out *os.File
	for tries := 0; out == nil; tries++ {
		for fd := 0; fd < 100; { // anew each time: the collector closes what earlier tests have left
			null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
			must(t, err)
			below, fd = append(below, null), int(null.Fd())
		}
		e = testbed.Engine(t)
		place := newest(t, "/memfd:sandbox-init") - 1
		fd, err := unix.FcntlInt(below[0].Fd(), unix.F_DUPFD_CLOEXEC, place)
		must(t, err)
		f := os.NewFile(uintptr(fd), os.DevNull)
		defer f.Close()
		if fd == place {
			out = f
		} else if tries == 10 {
			t.Fatalf("descriptor %d is not free", place)
		}
	}
	for _, f := range below {
		must(t, f.Close())
	}
	plan, err := isolate.NewPlan(spec(t, "true"), e.Host())
	must(t, err)
	box, err := e.Launch(t.Context(), plan, isolate.IO{Stdout: out, Stderr: out})
	must(t, err)
	if exit := box.Wait(); exit.Code != 0 || exit.Err != nil {
		t.Errorf("%+v", exit)
	}
	must(t, box.Destroy())
}

// newest is the highest descriptor of this process that is open on a file of
// that name.
func newest(t *testing.T, name string) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	must(t, err)
	found := -1
	for _, e := range entries {
		target, err := os.Readlink("/proc/self/fd/" + e.Name())
		var fd int
		if _, scan := fmt.Sscan(e.Name(), &fd); err == nil && scan == nil && strings.HasPrefix(target, name) {
			found = max(found, fd)
		}
	}
	if found < 0 {
		t.Fatalf("no descriptor of %s", name)
	}
	return found
}
