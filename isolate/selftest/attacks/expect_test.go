package attacks

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

func TestJudge(t *testing.T) {
	want := Expectation{Errno: "EPERM|EACCES", Want: map[string]string{"fact": "ok", "either": "ENOENT|ESRCH", "any": Whatever, "number": "7"}}
	good := map[string]string{"fact": "ok", "either": "ESRCH", "any": "ok", "number": "7", "mount": "EPERM", "open": "EACCES"}
	for _, c := range []struct {
		name, outcome string // changed from good; an empty outcome takes it out
		wrong         []string
	}{
		{"any", "EINVAL", nil},
		{"any", "", nil},
		{"mount", "", nil},
		{"mount", "ok", []string{"mount: it works"}},
		{"mount", "ENOSYS", []string{`mount: got "ENOSYS", want "EPERM|EACCES"`}},
		{"fact", "EPERM", []string{`fact: got "EPERM", want "ok"`}},
		{"either", "ok", []string{`either: got "ok", want "ENOENT|ESRCH"`}},
		{"number", "8", []string{`number: got "8", want "7"`}},
		{"number", "", []string{"number: not tried"}},
	} {
		detail := map[string]string{}
		for name, outcome := range good {
			detail[name] = outcome
		}
		if detail[c.name] = c.outcome; c.outcome == "" {
			delete(detail, c.name)
		}
		if got := want.Judge(Report{Detail: detail}).Wrong; !slices.Equal(got, c.wrong) {
			t.Errorf("%s %q: got %q, want %q", c.name, c.outcome, got, c.wrong)
		}
	}
	if got := want.Judge(Report{Detail: good}).Tries; !slices.Equal(got, []string{"either", "mount", "number", "open"}) {
		t.Errorf("tries: %q", got)
	}
	if got := (Expectation{}).Judge(Report{}).Wrong; !slices.Equal(got, []string{"nothing was tried"}) {
		t.Errorf("an empty report: %q", got)
	}
}

func TestWith(t *testing.T) {
	base := Expectation{Errno: "EPERM", Want: map[string]string{"a": "1", "b": "2"}}
	got := base.With(map[string]string{"b": "3", "c": "4"})
	if got.Errno != "EPERM" || fmt.Sprint(got.Want) != "map[a:1 b:3 c:4]" || fmt.Sprint(base.Want) != "map[a:1 b:2]" {
		t.Errorf("got %v of %v", got, base)
	}
}

func TestOutcome(t *testing.T) {
	for want, err := range map[string]error{"ok": nil, "EPERM": fmt.Errorf("mount: %w", unix.EPERM), "no": errors.New("no")} {
		if got := Outcome(err); got != want {
			t.Errorf("%v: got %q, want %q", err, got, want)
		}
	}
}
