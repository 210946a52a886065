package resolve

import (
	"fmt"
	"slices"

	"github.com/gilliam/hypervisor/rootfs/debian/control"
)

// contradiction is an error when two of the packages that are chosen exclude each
// other.
func (s *solver) contradiction() error {
	for _, p := range s.added {
		other, err := s.conflict(p)
		if err != nil {
			return err
		}
		if other != "" {
			return &impossible{fmt.Sprintf("package %s cannot be beside %s", s.named(p.Name), s.named(other))}
		}
	}
	return nil
}

// conflict is the name of a chosen package that p excludes, or that excludes p.
func (s *solver) conflict(p *Package) (string, error) {
	names := make([]string, 0, len(s.chosen))
	for name := range s.chosen {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		other := s.chosen[name]
		if other.Name == p.Name {
			continue
		}
		for _, pair := range [][2]*Package{{p, other}, {other, p}} {
			excluded, err := s.excludes(pair[0], pair[1])
			if err != nil {
				return "", err
			}
			if excluded {
				return other.Name, nil
			}
		}
	}
	return "", nil
}

// excludes tells whether a conflicts with b or breaks it.
func (s *solver) excludes(a, b *Package) (bool, error) {
	if a.against == nil {
		a.against = []control.Relation{} // looked at
		for _, f := range []struct{ name, value string }{{"Conflicts", a.Conflicts}, {"Breaks", a.Breaks}} {
			clauses, err := control.ParseRelations(f.value)
			if err != nil {
				return false, fmt.Errorf("package %s: %s: %w", a.Name, f.name, err)
			}
			for _, c := range clauses {
				a.against = append(a.against, c[0])
			}
		}
	}
	for _, r := range a.against {
		if r.Arch == "any" {
			r.Arch = "" // of every architecture, this one too
		}
		if ok, err := s.u.satisfies(b, r); ok || err != nil {
			return ok, err
		}
	}
	return false, nil
}
