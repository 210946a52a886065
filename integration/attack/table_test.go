//go:build integration

package attack

import (
	"strings"
	"testing"

	"github.com/gilliam/hypervisor/isolate"
	"github.com/gilliam/hypervisor/isolate/selftest/attacks"
)

// An attack is one row of a table.
type attack struct {
	id   string   // in the list of threats
	what string   // what it tries
	args []string // of the probe, the attack's name first

	sandbox func(*isolate.Plan) // what the sandbox needs for it; nil: nothing

	want attacks.Expectation

	control control // where it works
	differs bool    // the control shows that it is refused here otherwise, not that it works

	// blind are tries that the control cannot show, by the beginning of their
	// names, with the reason.
	blind map[string]string

	uncontrolled string // why there is no control
}

// fight runs the rows of a table.
func fight(t *testing.T, table []attack) {
	for _, a := range table {
		t.Run(strings.ReplaceAll(a.id+" "+a.what, " ", "-"), func(t *testing.T) {
			got := once(t, spec(t, a.args...), a.sandbox)
			verdict := a.want.Judge(got)
			for _, wrong := range verdict.Wrong {
				t.Error(wrong)
			}
			tries := verdict.Tries
			if a.control == nil {
				if a.uncontrolled == "" {
					t.Error("bug: no control and no reason for that")
				}
				t.Logf("%s %s: %s, %d tries; no control: %s", a.id, a.what, got.Result, len(tries), a.uncontrolled)
				return
			}
			ctl := a.control(t, a.args)
			shown, dark := a.compare(t, tries, got, ctl)
			t.Logf("%s %s: %s, %d tries; control: %s, shows %d, cannot show %d", a.id, a.what, got.Result, len(tries), ctl.Result, shown, dark)
		})
	}
}

// compare checks that every try comes to something else in the control.
func (a attack) compare(t *testing.T, tries []string, got, ctl report) (shown, dark int) {
	t.Helper()
	if ctl.Result != "worked" {
		t.Errorf("in the control it does not work: %v", ctl.Detail)
	}
	for _, name := range tries {
		outcome := ctl.Detail[name]
		why := ""
		for start, reason := range a.blind {
			if strings.HasPrefix(name, start) {
				why = reason
			}
		}
		switch {
		case outcome == "ok", a.differs && outcome != "" && outcome != got.Detail[name]:
			shown++
		case why != "":
			dark++
		default:
			t.Errorf("%s: the control shows nothing: %q there, %q here", name, outcome, got.Detail[name])
		}
	}
	return shown, dark
}
