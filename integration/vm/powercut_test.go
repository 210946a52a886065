//go:build vm

package vm

import (
	"strconv"
	"testing"

	"github.com/gilliam/hypervisor/integration/vm/job"
)

// enough files are written when the power goes.
const enough = 50

// What a program flushed to the state disk is there after a power cut, and the
// next machine mounts that disk: what tests of a reboot build on. The control is
// what was written and not flushed, some of which is lost.
func TestPowerCut(t *testing.T) {
	r := newRig(t, nil, "integration/vm/powercut")
	r.keepState(t, 256<<20)
	powercut := func(verb string) job.Task {
		return job.Task{Name: verb, Dir: job.StateDir, Args: []string{job.BinDir + "/powercut", verb, job.StateDir}, Timeout: deadline}
	}

	durable := make(chan int, 1) // what must be there, told once
	var console job.Transcript
	console.Heard = func(name, value string) {
		if n, err := strconv.Atoi(value); err == nil && name == "durable" && n == enough {
			durable <- n
		}
	}
	running := r.boot(t, &console, powercut("write"))
	select {
	case <-durable:
	case <-running.Done():
		t.Fatalf("the guest came to its end: %s\n%s", console.Fatal, console.Tail(60))
	}
	must(t, running.Kill()) // in the middle of the next ones; from here on nobody writes to console
	told := number(t, console.Facts, "durable")

	after := r.run(t, powercut("check")).Facts
	if whole := number(t, after, "flushed-whole"); whole < told {
		t.Errorf("of %d files that were flushed %d are there", told, whole)
	}
	if torn := number(t, after, "flushed-torn"); torn > 0 {
		t.Errorf("%d files have their names and not their content", torn)
	}
	if number(t, after, "careless-torn") == 0 {
		t.Error("control: of what was not flushed nothing is lost: there was no power cut")
	}
}

func number(t *testing.T, facts map[string]string, name string) int {
	t.Helper()
	n, err := strconv.Atoi(facts[name])
	if err != nil {
		t.Fatalf("the fact %s: %v", name, err)
	}
	return n
}
