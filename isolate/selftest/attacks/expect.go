package attacks

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// An Expectation is what must come of an attack in a sandbox. Every try must
// fail, but for those that Want has otherwise.
type Expectation struct {
	// Errno is how a try fails that Want does not name. Empty means in any way.
	Errno string

	// Want is the outcome of tries and facts by their names.
	Want map[string]string
}

// Of outcomes with "|" between them either is right, and Whatever always is.
const Whatever = "*"

// With is the expectation with more, or other, outcomes wanted.
func (e Expectation) With(want map[string]string) Expectation {
	all := maps.Clone(want)
	for name, outcome := range e.Want {
		if _, ok := want[name]; !ok {
			all[name] = outcome
		}
	}
	return Expectation{e.Errno, all}
}

// A Verdict is what an expectation makes of a report. Both lists are sorted.
type Verdict struct {
	Tries []string // names of what was tried; facts are not among them
	Wrong []string // what is not as it must be, for a person
}

// Judge compares a report with what must come of the attack. A report in which
// nothing was tried is wrong.
func (e Expectation) Judge(r Report) Verdict {
	var v Verdict
	wrong := func(format string, args ...any) { v.Wrong = append(v.Wrong, fmt.Sprintf(format, args...)) }
	for name, outcome := range r.Detail {
		want, named := e.Want[name]
		switch {
		case named && !oneOf(want, outcome):
			wrong("%s: got %q, want %q", name, outcome, want)
		case named && (want == Whatever || want == "ok"):
			continue // a fact, not a try
		case !named && outcome == "ok":
			wrong("%s: it works", name)
		case !named && e.Errno != "" && !oneOf(e.Errno, outcome):
			wrong("%s: got %q, want %q", name, outcome, e.Errno)
		}
		v.Tries = append(v.Tries, name)
	}
	for name, want := range e.Want {
		if _, ok := r.Detail[name]; !ok && want != Whatever {
			wrong("%s: not tried", name)
		}
	}
	if len(v.Tries) == 0 {
		wrong("nothing was tried")
	}
	slices.Sort(v.Tries)
	slices.Sort(v.Wrong)
	return v
}

func oneOf(want, outcome string) bool {
	return want == Whatever || slices.Contains(strings.Split(want, "|"), outcome)
}
