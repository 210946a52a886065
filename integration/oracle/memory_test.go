//go:build integration

package oracle

import (
	"fmt"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"

	"github.com/gilliam/hypervisor/integration/testbed"
	"github.com/gilliam/hypervisor/isolate"
)

// A memory is what one idle sandbox takes beside its app, in bytes: its share of
// the pages that processes share, and all of those that they do not (PSS).
type memory struct {
	init   int64 // of sandbox-init
	engine int64 // by how much the process that launched it has grown
}

// idleMemory launches sandboxes that do nothing and measures them.
func idleMemory(b *testing.B, we *ours) memory {
	b.Helper()
	spec := isolate.Spec{Args: []string{"/bin/sleep", "infinity"}, User: testbed.Template(b).User}
	null, err := os.OpenFile(b.TempDir()+"/out", os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		b.Fatal(err)
	}
	defer null.Close()
	debug.FreeOSMemory()
	before := pss(b, os.Getpid())
	boxes := make([]program, 0, idlers)
	for range cap(boxes) {
		p := planOf(b, we.engine.Host(), spec)
		makeLayer(b, p)
		defer removeLayer(b, p)
		box, err := we.start(p, null)
		if err != nil {
			b.Fatal(err)
		}
		defer func() {
			if err := box.stop(); err != nil {
				b.Error(err)
			}
		}()
		boxes = append(boxes, box)
	}
	debug.FreeOSMemory()
	m := memory{engine: (pss(b, os.Getpid()) - before) / idlers}
	for _, box := range boxes {
		m.init += pss(b, box.(*sandbox).PID()) / idlers
	}
	return m
}

// pss reads how much memory a process has (proc_pid_smaps(5), smaps_rollup).
func pss(b *testing.B, pid int) int64 {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); f[0] == "Pss:" {
			kib, err := strconv.ParseInt(f[1], 10, 64)
			if err != nil {
				b.Fatal(err)
			}
			return kib << 10
		}
	}
	b.Fatalf("smaps_rollup of %d has no Pss", pid)
	return 0
}
