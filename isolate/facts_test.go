package isolate

import (
	"strings"
	"testing"
)

func TestFactsGolden(t *testing.T) {
	p, err := NewPlan(testSpec(), testHost())
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, d := range p.Facts(testHost()).Diff(Facts{}) {
		lines = append(lines, d.Fact+": "+d.Want)
	}
	golden(t, "testdata/facts.txt", strings.Join(lines, "\n")+"\n")
}

func TestDiff(t *testing.T) {
	want := Facts{"a": "1", "b": "2", "c": "3"}
	if d := want.Diff(want); len(d) != 0 {
		t.Errorf("with itself: %v", d)
	}
	got := Facts{"a": "1", "b": "x", "d": "4"}
	var text []string
	for _, d := range want.Diff(got) {
		text = append(text, d.String())
	}
	if s := strings.Join(text, "; "); s != `b: want "2", got "x"; c: want "3", got ""; d: want "", got "4"` {
		t.Errorf("got %s", s)
	}
}
