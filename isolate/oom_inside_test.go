//go:build integration

package isolate_test

import (
	"bufio"
	"os"
	"testing"

	"github.com/gilliam/hypervisor/integration/testbed"
	"github.com/gilliam/hypervisor/isolate"
)

func TestOOM(t *testing.T) {
	s := spec(t, sh("head -c 200m /dev/zero | tail -c 200m | wc -c")...)
	s.Limits.Memory = 32 << 20
	r, err := launch(t, testbed.Engine(t), s)
	if err != nil {
		t.Fatal(err)
	}
	text, exit := r.finish(t)
	if !exit.OOMKilled {
		t.Errorf("%+v %s", exit, text)
	}
}

// A process that takes all the memory ends its sandbox, not only itself: by the
// kernel on cgroup v2, by sandbox-init, a moment later, on v1. Without either, the
// others live on.
func TestOOMEndsAll(t *testing.T) {
	testbed.Leaves(t)
	e := testbed.Engine(t)
	run := func(ends bool) (*isolate.Sandbox, *os.File) {
		s := spec(t, sh("head -c 200m /dev/zero | tail -c 200m | wc -c; echo lived on; sleep 1000")...)
		s.Limits.Memory = 32 << 20
		plan, err := isolate.NewPlan(s, e.Host())
		must(t, err)
		if plan.Cgroup.OOMGroup == plan.Cgroup.OOMEvent {
			t.Errorf("the plan has %v and %v", plan.Cgroup.OOMGroup, plan.Cgroup.OOMEvent)
		}
		if !ends {
			plan.Cgroup.OOMGroup, plan.Cgroup.OOMEvent = false, false
		}
		box, out, err := testbed.Launch(t, e, plan) // the control is not what is verified
		must(t, err)
		t.Cleanup(func() {
			must(t, box.Destroy())
			out.Close()
		})
		return box, out
	}
	box, _ := run(true)
	if exit := box.Wait(); !exit.OOMKilled || exit.Code != 137 {
		t.Errorf("%+v", exit)
	}
	livedOn := func() bool {
		box, out := run(false)
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			if lines.Text() == "lived on" {
				return true
			}
		}
		t.Logf("control: the kernel has chosen another: %+v", box.Wait()) // it has closed its output
		return false
	}
	for range 5 {
		if livedOn() {
			return
		}
	}
	t.Error("control: nobody lived on")
}
