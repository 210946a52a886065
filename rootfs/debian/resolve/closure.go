package resolve

import (
	"fmt"

	"github.com/gilliam/hypervisor/rootfs/debian/control"
)

// A Graph tells which of a system's packages need which.
type Graph struct {
	needs    map[string][]string // Depends and Pre-Depends
	preneeds map[string][]string // Pre-Depends
}

// NewGraph looks at packages that fulfil each other's dependencies.
func NewGraph(u *Universe, packages []*Package) (Graph, error) {
	g := Graph{map[string][]string{}, map[string][]string{}}
	s := &solver{u: u, chosen: map[string]*Package{}}
	for _, p := range packages {
		s.chosen[p.Name] = p
	}
	for _, p := range packages {
		for pre, value := range map[bool]string{true: p.PreDepends, false: p.Depends} {
			clauses, err := control.ParseRelations(value)
			if err != nil {
				return g, fmt.Errorf("package %s: %w", p.Name, err)
			}
			for _, c := range clauses {
				for _, r := range c {
					q, err := s.have(r)
					if err != nil {
						return g, err
					}
					if q == nil || q == p {
						continue
					}
					g.needs[p.Name] = append(g.needs[p.Name], q.Name)
					if pre {
						g.preneeds[p.Name] = append(g.preneeds[p.Name], q.Name)
					}
				}
			}
		}
	}
	return g, nil
}

// Closure is a set of packages with all that these need.
func (g Graph) Closure(names []string) map[string]bool {
	set := map[string]bool{}
	todo := append([]string{}, names...)
	for len(todo) > 0 {
		name := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if !set[name] {
			set[name] = true
			todo = append(todo, g.needs[name]...)
		}
	}
	return set
}

// Complete is the part of the packages whose needs are all in it, too.
func (g Graph) Complete(packages map[string]bool) map[string]bool {
	set := map[string]bool{}
	for name := range packages {
		complete := true
		for need := range g.Closure([]string{name}) {
			complete = complete && packages[need]
		}
		if complete {
			set[name] = true
		}
	}
	return set
}

// Before are the packages that must be configured before one is unpacked.
func (g Graph) Before(name string) []string { return g.preneeds[name] }
