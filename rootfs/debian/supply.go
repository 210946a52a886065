package debian

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/gilliam/hypervisor/rootfs/debian/archive"
	"github.com/gilliam/hypervisor/rootfs/debian/control"
	"github.com/gilliam/hypervisor/rootfs/debian/deb"
	"github.com/gilliam/hypervisor/rootfs/debian/resolve"
)

// fetchers is how many packages are fetched at once.
const fetchers = 8

// An unpacked is a package on its way into the tree.
type unpacked struct {
	*resolve.Package
	deb   *deb.Package
	file  *os.File
	done  bool     // it is unpacked
	names []string // what it has brought
}

// script is a script of the package's, nil when it has none.
func (u *unpacked) script(name string) []byte { return u.deb.Get(name) }

// supply fetches all packages, and unpacks those that may be before any script has
// run: all of the base, and what has no preinst of its own. It unpacks while it
// fetches.
func (j *job) supply(ctx context.Context) error {
	var total int64
	for _, p := range j.chosen {
		total += p.Size
	}
	j.begin(Packages, total, len(j.chosen))
	j.debs = make(map[string]*unpacked, len(j.chosen))
	base := j.graph.Closure(j.base)
	ready := make(chan *unpacked, len(j.chosen))
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return j.fetchAll(ctx, ready) })
	var late []*unpacked
	var mu sync.Mutex
	for range runtime.GOMAXPROCS(0) {
		g.Go(func() error {
			for u := range ready {
				if u.script("preinst") != nil && !base[u.Name] {
					continue // see configure
				}
				if waits, err := j.replaces(u.deb); err != nil {
					return err
				} else if waits {
					mu.Lock()
					late = append(late, u)
					mu.Unlock()
					continue
				}
				if err := ctx.Err(); err != nil {
					return err
				}
				if err := j.unpack(u); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	// One after the other, in an order that is always the same.
	slices.SortFunc(late, func(a, b *unpacked) int { return strings.Compare(a.Name, b.Name) })
	for _, u := range late {
		if err := j.unpack(u); err != nil {
			return err
		}
	}
	return nil
}

// fetchAll fetches the packages, the largest first, and passes each on when it has
// come.
func (j *job) fetchAll(ctx context.Context, ready chan<- *unpacked) error {
	defer close(ready)
	order := slices.Clone(j.chosen)
	slices.SortStableFunc(order, func(a, b *resolve.Package) int { return int(b.Size - a.Size) })
	var mu sync.Mutex
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(fetchers)
	for _, p := range order {
		g.Go(func() error {
			f := archive.File{URL: strings.TrimSuffix(j.Sources[p.Source].Mirror, "/") + "/" + p.Filename, Size: p.Size, SHA256: p.SHA256}
			file, err := j.Client.Fetch(ctx, f, j.bytes)
			if err != nil {
				return fmt.Errorf("package %s: %w", p.Name, err)
			}
			u := &unpacked{Package: p, file: file}
			mu.Lock()
			j.debs[p.Name] = u
			mu.Unlock()
			if u.deb, err = deb.Open(file); err != nil {
				return fmt.Errorf("package %s: %w", p.Name, err)
			}
			if u.deb.Name() != p.Name || u.deb.Version() != p.Version {
				return fmt.Errorf("package %s %s: the file is %s %s", p.Name, p.Version, u.deb.Name(), u.deb.Version())
			}
			j.one()
			ready <- u
			return nil
		})
	}
	return g.Wait()
}

// unpack puts a package into the tree.
func (j *job) unpack(u *unpacked) error {
	names, err := j.tree.Unpack(u.deb)
	if err != nil {
		return err
	}
	u.names, u.done = names, true
	return u.file.Close()
}

// replaces tells whether a package may bring files in place of those of another one
// of the system: it is unpacked when the others are.
func (j *job) replaces(p *deb.Package) (bool, error) {
	value := p.Control.Get("Replaces")
	if value == "" {
		return false, nil
	}
	clauses, err := control.ParseRelations(value)
	if err != nil {
		return false, fmt.Errorf("package %s: Replaces: %w", p.Name(), err)
	}
	for _, c := range clauses {
		for _, list := range [][]*resolve.Package{j.chosen, j.installed} {
			for _, other := range list {
				if other.Name != c[0].Name || other.Name == p.Name() {
					continue
				}
				if ok, err := control.Satisfies(other.Version, c[0].Op, c[0].Version); ok || err != nil {
					return ok, err
				}
			}
		}
	}
	return false, nil
}

// closeDebs closes the files of packages that were not unpacked.
func (j *job) closeDebs() {
	for _, u := range j.debs {
		if !u.done {
			u.file.Close()
		}
	}
}
