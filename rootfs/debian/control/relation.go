package control

import (
	"fmt"
	"strings"
)

// A Relation names a package, with what is asked of it.
type Relation struct {
	Name    string
	Arch    string // behind a colon: any, native or an architecture; empty: none
	Op      string // <<, <=, =, >= or >>; empty: any version
	Version string
}

func (r Relation) String() string {
	s := r.Name
	if r.Arch != "" {
		s += ":" + r.Arch
	}
	if r.Op != "" {
		s += " (" + r.Op + " " + r.Version + ")"
	}
	return s
}

// A Clause is satisfied by any one of its relations, better by an earlier one.
type Clause []Relation

func (c Clause) String() string {
	list := make([]string, len(c))
	for i, r := range c {
		list[i] = r.String()
	}
	return strings.Join(list, " | ")
}

// ParseRelations reads the value of Depends and the like: clauses between commas,
// each with alternatives between bars.
func ParseRelations(value string) ([]Clause, error) {
	var clauses []Clause
	for part := range strings.SplitSeq(value, ",") {
		if strings.TrimSpace(part) == "" {
			continue // dpkg takes a comma too many, too
		}
		var c Clause
		for one := range strings.SplitSeq(part, "|") {
			r, err := parseRelation(one)
			if err != nil {
				return nil, err
			}
			c = append(c, r)
		}
		clauses = append(clauses, c)
	}
	return clauses, nil
}

func parseRelation(s string) (Relation, error) {
	bad := func(why string) (Relation, error) {
		return Relation{}, fmt.Errorf("relation %.80q: %s", strings.TrimSpace(s), why)
	}
	name, rest, restricted := strings.Cut(s, "(")
	name, arch, qualified := strings.Cut(strings.TrimSpace(name), ":")
	r := Relation{Name: name, Arch: arch}
	switch {
	case !ValidName(name):
		return bad("no name of a package")
	case qualified && !ValidName(arch):
		return bad("no architecture behind the colon")
	case !restricted:
		return r, nil
	}
	text, after, closed := strings.Cut(rest, ")")
	if !closed || strings.TrimSpace(after) != "" {
		return bad("must end with the version in brackets")
	}
	text = strings.TrimSpace(text)
	version := strings.TrimLeft(text, "<>=")
	switch op := text[:len(text)-len(version)]; op {
	case "<<", "<=", "=", ">=", ">>":
		r.Op = op
	case "<", ">": // old spellings of <= and >=
		r.Op = op + "="
	default:
		return bad("no operator before the version")
	}
	r.Version = strings.TrimSpace(version)
	if _, err := ParseVersion(r.Version); err != nil {
		return bad(err.Error())
	}
	return r, nil
}

// ValidName tells whether a package, or an architecture, may be called so. Names
// become names of files, and in this form they are safe as such.
func ValidName(name string) bool {
	if len(name) < 1 || len(name) > 200 {
		return false
	}
	for i := range len(name) {
		c := name[i]
		if !isDigit(c) && !('a' <= c && c <= 'z') && (i == 0 || !strings.ContainsRune("+-.", rune(c))) {
			return false
		}
	}
	return true
}
