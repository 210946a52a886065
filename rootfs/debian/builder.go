package debian

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/gilliam/hypervisor/isolate"
	"github.com/gilliam/hypervisor/isolate/failpoint"
	"github.com/gilliam/hypervisor/rootfs/debian/archive"
	"github.com/gilliam/hypervisor/rootfs/debian/deb"
	"github.com/gilliam/hypervisor/rootfs/debian/resolve"
)

// A Source is where packages come from, and whose signatures count.
type Source struct {
	archive.Source
	Keyring archive.Keyring
}

// A Builder builds trees.
type Builder struct {
	Work   *Work
	Engine *isolate.Engine
	Client *archive.Client

	// Sources of one distribution; of packages in several the newest counts.
	Sources []Source
	Arch    string // as Debian calls it: amd64
	Fresh   archive.Freshness

	// Epoch is the time that no file is younger than. Zero means that of the newest
	// Release file.
	Epoch time.Time

	// Report is told what is under way, by one goroutine at a time. Nil tells no one.
	Report func(Progress)

	// Log gets what scripts and dpkg write. Nil keeps it for errors.
	Log func(line string)
}

// A Summary says what was built.
type Summary struct {
	Packages []Chosen  `json:"packages"` // by name
	Release  time.Time `json:"release"`  // date of the newest Release file
	Fetched  int64     `json:"fetched"`  // bytes of packages, cached ones included
}

// A Chosen is a package of the tree.
type Chosen struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	Arch    string `json:"arch"`
}

// Build makes a Debian base system in tree, an empty folder, with the packages of
// that name and what they need.
func (b *Builder) Build(ctx context.Context, tree string, include []string) (Summary, error) {
	if left, err := os.ReadDir(tree); err != nil || len(left) > 0 {
		return Summary{}, errors.Join(fmt.Errorf("build in %s: must be an empty folder", tree), err)
	}
	j := &job{Builder: b, dir: tree, track: track{report: b.Report}}
	if err := j.choose(ctx, include, nil); err != nil {
		return Summary{}, err
	}
	return j.run(ctx)
}

// Install adds packages to tree, a system that Build has made.
func (b *Builder) Install(ctx context.Context, tree string, names []string) (Summary, error) {
	j := &job{Builder: b, dir: tree, track: track{report: b.Report}}
	root, err := os.OpenRoot(tree)
	if err != nil {
		return Summary{}, err
	}
	defer root.Close()
	if j.installed, err = readStatus(root); err != nil {
		return Summary{}, err
	}
	if err := j.choose(ctx, names, j.installed); err != nil {
		return Summary{}, err
	}
	return j.run(ctx)
}

// A job is one tree's way.
type job struct {
	*Builder
	track
	dir       string
	installed []*resolve.Package // before
	chosen    []*resolve.Package // to be added
	base      []string           // of these, what every system has; empty for Install
	universe  *resolve.Universe
	graph     resolve.Graph
	release   time.Time

	tree *deb.Tree
	root *os.Root
	debs map[string]*unpacked // by package
}

// run does what was chosen.
func (j *job) run(ctx context.Context) (_ Summary, err error) {
	if j.tree, err = deb.OpenTree(j.dir); err != nil {
		return Summary{}, err
	}
	defer j.tree.Close()
	if j.root, err = os.OpenRoot(j.dir); err != nil {
		return Summary{}, err
	}
	defer j.root.Close()
	if j.graph, err = resolve.NewGraph(j.universe, slices.Concat(j.installed, j.chosen)); err != nil {
		return Summary{}, err
	}
	if err := j.ownInstalled(); err != nil {
		return Summary{}, err
	}
	defer j.closeDebs()
	if err := j.supply(ctx); err != nil {
		return Summary{}, err
	}
	failpoint.Hit("template.unpacked")
	if err := j.configure(ctx); err != nil {
		return Summary{}, err
	}
	failpoint.Hit("template.configured")
	if err := j.settle(); err != nil {
		return Summary{}, fmt.Errorf("settle %s: %w", j.dir, err)
	}
	return j.summary(), nil
}

func (j *job) summary() Summary {
	s := Summary{Release: j.release}
	for _, p := range j.chosen {
		s.Packages = append(s.Packages, Chosen{p.Name, p.Version, p.Arch})
		s.Fetched += p.Size
	}
	slices.SortFunc(s.Packages, func(a, b Chosen) int {
		if a.Name < b.Name {
			return -1
		}
		return 1
	})
	return s
}
