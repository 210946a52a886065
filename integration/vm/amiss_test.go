//go:build vm

package vm

import (
	"encoding/json"
	"testing"

	"github.com/gilliam/hypervisor/integration/vm/job"
)

// The clock of the machine is set a year ahead, two years back and right again: no
// proc ends of it, checks go on, and a stop takes as long as it should.
func TestClockJumps(t *testing.T) { nothingAmiss(t, "clock") }

// The disk with the state folder answers with errors: new procs are refused with the
// reason, and what runs can be stopped. When it does not any more, and is mounted again,
// the hypervisor has what it had told, and nothing else.
func TestFaultyDisk(t *testing.T) { nothingAmiss(t, "faulty") }

// nothingAmiss has the program storm do something in a machine of its own, and fails the
// test with what that has found.
func nothingAmiss(t *testing.T, verb string) {
	r := newRig(t, nil, "cmd/hypervisor", "integration/vm/storm")
	r.keepState(t, 1<<30)
	console := r.run(t, stormTask(verb))
	var s job.Seen
	if err := json.Unmarshal([]byte(console.Facts[job.Checked]), &s); err != nil {
		t.Fatalf("%v\n%s", err, console.Tail(40))
	}
	for _, text := range s.Amiss {
		t.Errorf("amiss: %s", text)
	}
	if r := console.Results[verb]; r == nil || r.Code != 0 {
		t.Errorf("got %+v", r)
	}
}
