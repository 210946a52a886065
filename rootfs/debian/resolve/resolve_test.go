package resolve

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

// world makes a universe of lines: NAME VERSION, then fields as Field: value; with
// semicolons between them.
func world(t *testing.T, lines ...string) *Universe {
	t.Helper()
	u := NewUniverse("amd64")
	for _, line := range lines {
		if err := u.Add(pkg(line)); err != nil {
			t.Fatal(err)
		}
	}
	return u
}

func pkg(line string) *Package {
	parts := strings.Split(line, ";")
	name, version, _ := strings.Cut(strings.TrimSpace(parts[0]), " ")
	p := &Package{Name: name, Version: version, Arch: "amd64", Priority: "optional"}
	for _, part := range parts[1:] {
		field, value, _ := strings.Cut(strings.TrimSpace(part), ": ")
		switch field {
		case "Arch":
			p.Arch = value
		case "Priority":
			p.Priority = value
		case "Essential":
			p.Essential = true
		case "Pre-Depends":
			p.PreDepends = value
		case "Depends":
			p.Depends = value
		case "Provides":
			p.Provides = value
		case "Conflicts":
			p.Conflicts = value
		case "Breaks":
			p.Breaks = value
		}
	}
	return p
}

func names(list []*Package) string {
	var all []string
	for _, p := range list {
		all = append(all, p.Name)
	}
	return strings.Join(all, " ")
}

func TestResolve(t *testing.T) {
	for name, c := range map[string]struct {
		world []string
		ask   string
		want  string
	}{
		"dependencies of dependencies": {[]string{"a 1; Depends: b, c (>= 2)", "b 1; Pre-Depends: d", "c 2", "d 1", "e 1"}, "a", "a b c d"},
		"a circle":                     {[]string{"a 1; Depends: b", "b 1; Depends: a"}, "a", "a b"},
		"itself":                       {[]string{"a 1; Depends: a (= 1)"}, "a", "a"},
		"the first alternative":        {[]string{"a 1; Depends: b | c", "b 1", "c 1"}, "a", "a b"},
		"the one there is":             {[]string{"a 1; Depends: b | c", "c 1"}, "a", "a c"},
		"the one new enough":           {[]string{"a 1; Depends: b (>= 2) | c", "b 1", "c 1"}, "a", "a c"},
		"the one that is chosen":       {[]string{"a 1; Depends: b | c", "b 1", "c 1"}, "a c", "a c"},
		"a preferred one":              {[]string{"a 1; Depends: b | merged", "b 1", "merged 1"}, "a", "a merged"},
		"one without a conflict":       {[]string{"a 1; Depends: b | c", "b 1; Conflicts: a", "c 1"}, "a", "a c"},
		"a virtual package":            {[]string{"a 1; Depends: awk", "gawk 1; Provides: awk", "mawk 1; Provides: awk; Priority: required"}, "a", "a mawk"},
		"a virtual one that is chosen": {[]string{"a 1; Depends: awk", "gawk 1; Provides: awk", "mawk 1; Provides: awk; Priority: required"}, "a gawk", "a gawk"},
		"a name before its providers":  {[]string{"a 1; Depends: x", "x 1", "p 1; Provides: x; Priority: required"}, "a", "a x"},
		"a version that is provided":   {[]string{"a 1; Depends: x (>= 2)", "p 1; Provides: x", "q 1; Provides: x (= 3)"}, "a", "a q"},
		"asked for by a virtual name":  {[]string{"p 1; Provides: x"}, "x", "p"},
		"an architecture":              {[]string{"a 1; Depends: p:any, q:amd64", "p 1", "q 1; Arch: all"}, "a", "a p q"},
		"the newest":                   {[]string{"a 1; Depends: b (<< 9)", "b 1", "b 10~"}, "a", "!there is b 10~"},
		"another architecture's":       {[]string{"a 1; Arch: arm64"}, "a", "!package a: no source has it for amd64"},
		"one that is missing":          {[]string{"a 1; Depends: b", "b 1; Depends: c (>= 2) | d", "c 1"}, "a", "!package b (needed by a) depends on c (>= 2) | d, which no source has for amd64 (there is c 1)"},
		"for another architecture":     {[]string{"a 1; Depends: b:arm64", "b 1"}, "a", "!depends on b:arm64"},
		"a conflict":                   {[]string{"a 1; Depends: b", "b 1; Conflicts: c", "c 1"}, "a c", "!package c cannot be beside b (needed by a)"},
		"one that breaks":              {[]string{"a 1; Breaks: c (<< 2)", "c 1"}, "a c", "!cannot be beside"},
		"one that breaks older ones":   {[]string{"a 1; Breaks: c (<< 1)", "c 1"}, "a c", "a c"},
		"alternatives for each other":  {[]string{"a 1; Provides: mta; Conflicts: mta", "b 1; Depends: mta"}, "a b", "a b"},
		"two of one kind":              {[]string{"a 1; Provides: mta; Conflicts: mta", "b 1; Provides: mta; Conflicts: mta"}, "a b", "!cannot be beside"},
		"a field that is wrong":        {[]string{"a 1; Depends: b c"}, "a", "!package a: Depends: relation"},
	} {
		got, err := Resolve(world(t, c.world...), Request{Names: strings.Fields(c.ask), Prefer: []string{"merged"}})
		if fault, ok := strings.CutPrefix(c.want, "!"); ok {
			if err == nil || !strings.Contains(err.Error(), fault) {
				t.Errorf("%s: got %q %v, want %q", name, names(got), err, fault)
			}
			if name != "a field that is wrong" && !errors.Is(err, ErrImpossible) {
				t.Errorf("%s: %v is not ErrImpossible", name, err)
			}
		} else if err != nil || names(got) != c.want {
			t.Errorf("%s: got %q %v, want %q", name, names(got), err, c.want)
		}
	}
}

// What is installed stays, counts, and is not chosen again.
func TestResolveInstalled(t *testing.T) {
	u := world(t, "a 2; Depends: b, v", "b 1", "c 1; Depends: d (>= 2)", "d 2")
	installed := []*Package{pkg("b 1"), pkg("old 1; Provides: v"), pkg("d 1")}
	got, err := Resolve(u, Request{Names: []string{"a", "b"}, Installed: installed})
	if err != nil || names(got) != "a" {
		t.Errorf("got %q %v", names(got), err)
	}
	_, err = Resolve(u, Request{Names: []string{"c"}, Installed: installed})
	if err == nil || !strings.Contains(err.Error(), "(d 1 is installed)") {
		t.Errorf("a package that is too old: %v", err)
	}
}

func TestBase(t *testing.T) {
	u := world(t, "z 1; Essential: yes", "apt 1", "r 1; Priority: required", "i 1; Priority: important")
	if got := u.Base(); !slices.Equal(got, []string{"apt", "r", "z"}) {
		t.Errorf("got %q", got)
	}
	for _, bad := range []string{"../x 1", "a 1_2", " 1"} {
		if err := u.Add(pkg(bad)); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

func TestGraph(t *testing.T) {
	u := world(t, "a 1; Depends: b | x", "b 1; Pre-Depends: c", "c 1", "d 1; Depends: e", "e 1; Depends: d", "f 1; Depends: a")
	var all []*Package
	for _, name := range []string{"a", "b", "c", "d", "e", "f"} {
		all = append(all, u.Get(name))
	}
	g, err := NewGraph(u, all)
	if err != nil {
		t.Fatal(err)
	}
	keys := func(set map[string]bool) string {
		var list []string
		for name := range set {
			list = append(list, name)
		}
		slices.Sort(list)
		return strings.Join(list, " ")
	}
	if got := keys(g.Closure([]string{"f", "e"})); got != "a b c d e f" {
		t.Errorf("closure %q", got)
	}
	if got := keys(g.Complete(map[string]bool{"a": true, "b": true, "c": true, "d": true, "f": true})); got != "a b c f" {
		t.Errorf("complete %q", got)
	}
	if got := g.Before("b"); !slices.Equal(got, []string{"c"}) {
		t.Errorf("before b: %q", got)
	}
}
