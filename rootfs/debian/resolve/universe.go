package resolve

import (
	"fmt"
	"slices"

	"github.com/gilliam/hypervisor/rootfs/debian/control"
)

// A Package is one that can be had, or is installed.
type Package struct {
	Name, Version, Arch string
	Essential           bool
	Priority            string // required, important, standard, optional, extra

	// Relations as their fields say them.
	PreDepends, Depends, Provides, Conflicts, Breaks string

	// Where it is: below URL of a source, its size and hash.
	Source   int // an index of whoever made it
	Filename string
	Size     int64
	SHA256   string

	version  control.Version
	provides []control.Clause
	against  []control.Relation // what it conflicts with or breaks; nil: not looked at
}

// A Universe is all packages that can be had, the newest version of each.
type Universe struct {
	arch      string
	packages  map[string]*Package
	providers map[string][]*Package // by the virtual name; sorted when asked
}

// NewUniverse is empty, and for one architecture.
func NewUniverse(arch string) *Universe {
	return &Universe{arch: arch, packages: map[string]*Package{}}
}

// Add adds a package, unless a version that is as new is there. Those of other
// architectures are left out.
func (u *Universe) Add(p *Package) error {
	if p.Arch != u.arch && p.Arch != "all" {
		return nil
	}
	if !control.ValidName(p.Name) {
		return fmt.Errorf("package %.80q: that is no name", p.Name)
	}
	v, err := control.ParseVersion(p.Version)
	if err != nil {
		return fmt.Errorf("package %s: %w", p.Name, err)
	}
	p.version = v
	if old := u.packages[p.Name]; old == nil || old.version.Compare(v) < 0 {
		u.packages[p.Name] = p
		u.providers = nil
	}
	return nil
}

// Get is the package of that name, or nil.
func (u *Universe) Get(name string) *Package { return u.packages[name] }

// Base is what every system has: all that is essential or of priority required,
// and apt, sorted.
func (u *Universe) Base() []string {
	var names []string
	for name, p := range u.packages {
		if p.Essential || p.Priority == "required" || name == "apt" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// whoProvides are the packages that provide a name, the most important first.
func (u *Universe) whoProvides(name string) ([]*Package, error) {
	if u.providers == nil {
		u.providers = map[string][]*Package{}
		for _, p := range u.packages {
			if p.Provides == "" {
				continue
			}
			clauses, err := control.ParseRelations(p.Provides)
			if err != nil {
				return nil, fmt.Errorf("package %s: Provides: %w", p.Name, err)
			}
			p.provides = clauses
			for _, c := range clauses {
				u.providers[c[0].Name] = append(u.providers[c[0].Name], p)
			}
		}
		for _, list := range u.providers {
			slices.SortFunc(list, moreImportant)
		}
	}
	return u.providers[name], nil
}

var priorities = []string{"required", "important", "standard", "optional"}

func moreImportant(a, b *Package) int {
	rank := func(p *Package) int {
		if i := slices.Index(priorities, p.Priority); i >= 0 {
			return i
		}
		return len(priorities)
	}
	if c := rank(a) - rank(b); c != 0 {
		return c
	}
	if a.Name < b.Name {
		return -1
	}
	return 1
}

// satisfies tells whether p is, or provides, what r asks for. A name that is
// provided without a version satisfies no relation with one (deb-control(5)).
func (u *Universe) satisfies(p *Package, r control.Relation) (bool, error) {
	if r.Arch != "" && r.Arch != "any" && r.Arch != "native" && r.Arch != u.arch {
		return false, nil
	}
	if p.Name == r.Name {
		if ok, err := control.Satisfies(p.Version, r.Op, r.Version); ok || err != nil {
			return ok, err
		}
	}
	if p.provides == nil && p.Provides != "" {
		clauses, err := control.ParseRelations(p.Provides)
		if err != nil {
			return false, fmt.Errorf("package %s: Provides: %w", p.Name, err)
		}
		p.provides = clauses
	}
	for _, c := range p.provides {
		if c[0].Name != r.Name || r.Op != "" && c[0].Op != "=" {
			continue
		}
		if ok, err := control.Satisfies(c[0].Version, r.Op, r.Version); ok || err != nil {
			return ok, err
		}
	}
	return false, nil
}
