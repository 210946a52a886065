package isolate

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"sync"

	"github.com/opencontainers/cgroups"
	"github.com/opencontainers/cgroups/manager"
	"golang.org/x/sys/unix"
)

// left are the hierarchies of cgroup v1 in which a sandbox is left where the
// hypervisor is: no plan has a limit there, and nothing is counted. A cgroup in
// each of them, made, joined and removed, costs 50 µs and more.
var left = []string{"cpuset", "freezer", "hugetlb", "misc", "net_cls", "net_prio", "perf_event", "rdma"}

// parents are the folders of [CgroupParent] in all other v1 hierarchies, by
// controller. On cgroup v2 there are none. Where cgroups are mounted is looked up
// once: the host does not move them.
var parents = sync.OnceValues(func() (map[string]string, error) {
	if cgroups.IsCgroup2UnifiedMode() {
		return nil, nil
	}
	m, err := manager.New(Cgroup{Path: CgroupParent}.config())
	if err != nil {
		return nil, err
	}
	dirs := maps.Clone(m.GetPaths())
	for _, controller := range left {
		delete(dirs, controller)
	}
	return dirs, nil
})

// managerOf is what reads, sets and removes the cgroup, whether there is one or
// not.
func managerOf(c Cgroup) (cgroups.Manager, error) {
	var dirs map[string]string // nil: the manager finds the one of cgroup v2
	above, err := parents()
	if above != nil {
		dirs = make(map[string]string, len(above))
		for controller, dir := range above {
			dirs[controller] = filepath.Join(dir, path.Base(c.Path))
		}
	}
	var m cgroups.Manager
	if err == nil {
		m, err = manager.NewWithPaths(c.config(), dirs)
	}
	if err != nil {
		return nil, fmt.Errorf("cgroup %s: %w", c.Path, err)
	}
	return m, nil
}

// makeCgroup makes the cgroup's folders, which must not be there yet. When it
// fails it leaves none.
func makeCgroup(m cgroups.Manager) (err error) {
	if cgroups.IsCgroup2UnifiedMode() {
		if m.Exists() {
			return fs.ErrExist
		}
		if err := m.Apply(-1); err != nil { // which hands controllers down from the root, too
			return errors.Join(err, m.Destroy())
		}
		return nil
	}
	// Controllers that are mounted together have one folder.
	dirs := slices.Compact(slices.Sorted(maps.Values(m.GetPaths())))
	for i, dir := range dirs {
		if err := makeFolder(dir); err != nil {
			for _, made := range dirs[:i] {
				err = errors.Join(err, unix.Rmdir(made))
			}
			return err
		}
	}
	return nil
}

// makeFolder makes one folder, and again and again the one above: another
// hypervisor that ends removes that as soon as it is empty.
func makeFolder(dir string) error {
	for {
		err := unix.Mkdir(dir, 0o755)
		if err == nil {
			return nil
		}
		if err != unix.ENOENT {
			return &fs.PathError{Op: "mkdir", Path: dir, Err: err}
		}
		above := filepath.Dir(dir)
		if err := unix.Mkdir(above, 0o755); err != nil && err != unix.EEXIST {
			return &fs.PathError{Op: "mkdir", Path: above, Err: err}
		}
	}
}
