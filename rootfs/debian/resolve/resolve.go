package resolve

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/gilliam/hypervisor/rootfs/debian/control"
)

// A Request is what a system is to have.
type Request struct {
	// Names are packages, in the order in which they are looked at.
	Names []string

	// Prefer are packages that are taken of a clause that names them, wherever in
	// it they stand.
	Prefer []string

	// Installed is what the system has. It stays as it is: a package of it is never
	// exchanged for another version.
	Installed []*Package
}

// ErrImpossible is a request that no choice of packages fulfils.
var ErrImpossible = errors.New("no packages fulfil this")

// An impossible error says in its own words why.
type impossible struct{ text string }

func (e *impossible) Error() string        { return e.text }
func (e *impossible) Is(target error) bool { return target == ErrImpossible }

// Resolve returns the packages that have to be added, those asked for first and
// their dependencies in the order in which they were met.
func Resolve(u *Universe, r Request) ([]*Package, error) {
	s := &solver{u: u, prefer: r.Prefer, chosen: map[string]*Package{}, because: map[string]string{}}
	for _, p := range r.Installed {
		s.chosen[p.Name] = p
	}
	for _, name := range r.Names {
		if s.chosen[name] != nil {
			continue
		}
		p := u.Get(name)
		if p == nil {
			var err error
			if p, err = s.provider(control.Relation{Name: name}); err != nil {
				return nil, err
			}
		}
		if p == nil {
			return nil, &impossible{fmt.Sprintf("package %s: no source has it for %s", name, u.arch)}
		}
		s.take(p, "")
	}
	for n := 0; n < len(s.added); n++ {
		if err := s.depend(s.added[n]); err != nil {
			return nil, err
		}
	}
	return s.added, s.contradiction()
}

// A solver makes one choice after the other.
type solver struct {
	u       *Universe
	prefer  []string
	chosen  map[string]*Package
	added   []*Package
	because map[string]string // which package brought this one
}

func (s *solver) take(p *Package, because string) {
	if s.chosen[p.Name] == nil {
		s.chosen[p.Name] = p
		s.added = append(s.added, p)
		s.because[p.Name] = because
	}
}

// depend takes what p depends on and is not chosen yet.
func (s *solver) depend(p *Package) error {
	for _, f := range []struct{ name, value string }{{"Pre-Depends", p.PreDepends}, {"Depends", p.Depends}} {
		clauses, err := control.ParseRelations(f.value)
		if err != nil {
			return fmt.Errorf("package %s: %s: %w", p.Name, f.name, err)
		}
		for _, c := range clauses {
			choice, err := s.choose(c)
			if err != nil {
				return err
			}
			if choice == nil {
				return &impossible{fmt.Sprintf("package %s depends on %s, which no source has for %s%s", s.named(p.Name), c, s.u.arch, s.instead(c))}
			}
			s.take(choice, p.Name)
		}
	}
	return nil
}

// choose is the package that satisfies c: one that is chosen already, or else the
// first that can be had and conflicts with nothing, or else the first. Nil when
// there is none.
func (s *solver) choose(c control.Clause) (*Package, error) {
	if i := slices.IndexFunc(c, func(r control.Relation) bool { return slices.Contains(s.prefer, r.Name) }); i > 0 {
		c = slices.Concat(c[i:i+1], c[:i], c[i+1:])
	}
	for _, r := range c {
		if p, err := s.have(r); p != nil || err != nil {
			return p, err
		}
	}
	var first *Package
	for _, r := range c {
		p, err := s.find(r)
		if err != nil {
			return nil, err
		}
		if p == nil {
			continue
		}
		other, err := s.conflict(p)
		if err != nil {
			return nil, err
		}
		if other == "" {
			return p, nil
		}
		if first == nil {
			first = p
		}
	}
	return first, nil
}

// have is the chosen package that satisfies r, or nil.
func (s *solver) have(r control.Relation) (*Package, error) {
	if p := s.chosen[r.Name]; p != nil {
		if ok, err := s.u.satisfies(p, r); ok || err != nil {
			return p, err
		}
	}
	providers, err := s.u.whoProvides(r.Name)
	if err != nil {
		return nil, err
	}
	for _, p := range providers {
		if s.chosen[p.Name] != p {
			continue
		}
		if ok, err := s.u.satisfies(p, r); ok || err != nil {
			return p, err
		}
	}
	for _, p := range s.installedProviders(r) {
		if ok, err := s.u.satisfies(p, r); ok || err != nil {
			return p, err
		}
	}
	return nil, nil
}

// installedProviders are the chosen packages that are not the universe's own:
// those that were installed.
func (s *solver) installedProviders(r control.Relation) []*Package {
	var list []*Package
	for name, p := range s.chosen {
		if p.Provides != "" && s.u.Get(name) != p {
			list = append(list, p)
		}
	}
	slices.SortFunc(list, moreImportant)
	return list
}

// find is the package that can be had and satisfies r, or nil. A package that is
// chosen in another version cannot be had.
func (s *solver) find(r control.Relation) (*Package, error) {
	if p := s.u.Get(r.Name); p != nil && s.chosen[p.Name] == nil {
		if ok, err := s.u.satisfies(p, r); ok || err != nil {
			return p, err
		}
	}
	return s.provider(r)
}

// provider is the most important package that provides what r asks for.
func (s *solver) provider(r control.Relation) (*Package, error) {
	providers, err := s.u.whoProvides(r.Name)
	if err != nil {
		return nil, err
	}
	for _, p := range providers {
		if s.chosen[p.Name] != nil {
			continue
		}
		if ok, err := s.u.satisfies(p, r); ok || err != nil {
			return p, err
		}
	}
	return nil, nil
}

// named is a package, with what asked for it in brackets.
func (s *solver) named(name string) string {
	var by []string
	for one := s.because[name]; one != ""; one = s.because[one] {
		by = append(by, one)
	}
	if len(by) == 0 {
		return name
	}
	return fmt.Sprintf("%s (needed by %s)", name, strings.Join(by, ", that by "))
}

// instead says which other version of what c asks for there is.
func (s *solver) instead(c control.Clause) string {
	for _, r := range c {
		if p := s.chosen[r.Name]; p != nil {
			return fmt.Sprintf(" (%s %s is installed)", p.Name, p.Version)
		}
		if p := s.u.Get(r.Name); p != nil {
			return fmt.Sprintf(" (there is %s %s)", p.Name, p.Version)
		}
	}
	return ""
}
