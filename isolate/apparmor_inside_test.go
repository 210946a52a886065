//go:build integration

package isolate_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/gilliam/hypervisor/integration/testbed"
	"github.com/gilliam/hypervisor/isolate"
)

// testProfile forbids what only it does: to write files like /var/tmp/forbidden.
// The machine of make test-vm has it loaded.
const testProfile = "gilliam-test"

const tryForbidden = `cat /proc/self/attr/current; (echo x >/var/tmp/forbidden) 2>/dev/null && echo written; true`

// The program runs under the profile that is loaded, and PID 1 does not, whose
// signals it must take.
func TestAppArmor(t *testing.T) {
	e := testbed.Engine(t)
	host := e.Host().AppArmor
	if !slices.Contains(host.Profiles, testProfile) {
		if host.Enabled {
			t.Fatalf("AppArmor is on without the profile %s: load it with apparmor_parser -r integration/vm/testdata/%s.apparmor", testProfile, testProfile)
		}
		return // TestAppArmorNotThere tells that this is seen
	}
	for use, want := range map[string]string{
		testProfile:           testProfile + " (enforce)\n",
		isolate.Unconfined:    "unconfined\nwritten\n",
		e.Host().AppArmor.Use: e.Host().AppArmor.Use + " (enforce)\nwritten\n",
	} {
		plan, err := isolate.NewPlan(spec(t, sh(tryForbidden+"; cat /proc/1/attr/current")...), e.Host())
		must(t, err)
		plan.AppArmor = use
		r, err := launchPlan(t, e, plan) // which verifies it
		must(t, err)
		if got, _ := r.finish(t); got != want+"unconfined\n" {
			t.Errorf("%s: got %q, want %q", use, got, want)
		}
	}
}

// A further command runs under the program's profile.
func TestAppArmorOfCommands(t *testing.T) {
	e := testbed.Engine(t)
	r := sleeper(t)
	var want string
	switch use := e.Host().AppArmor.Use; use {
	case "": // the kernel has no such attribute
	case isolate.Unconfined:
		want = "unconfined\n"
	default:
		want = use + " (enforce)\n"
	}
	if got, _ := command(t, r, "", "cat /proc/self/attr/current 2>/dev/null"); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// A profile that is not there is not left out: the launch fails, names it, and
// leaves nothing.
func TestAppArmorNotThere(t *testing.T) {
	testbed.Leaves(t)
	e := testbed.Engine(t)
	plan, err := isolate.NewPlan(spec(t, "true"), e.Host())
	must(t, err)
	plan.AppArmor = "gilliam-no-such-profile"
	_, err = launchPlan(t, e, plan)
	var step *isolate.StepError
	if !errors.As(err, &step) || !strings.Contains(step.Step, "enter AppArmor profile gilliam-no-such-profile") {
		t.Errorf("got %v", err)
	}
}
