package debian

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/gilliam/hypervisor/isolate"
	"github.com/gilliam/hypervisor/isolate/failpoint"
	"github.com/gilliam/hypervisor/rootfs/workdir"
)

// A Work is what one build has of the machine while it goes on: a folder, locked,
// by which what a killed one has left is known, and ids for its sandboxes.
type Work struct {
	dir     *workdir.Dir
	ids     isolate.IDRange
	release func() error
}

// Leases are where ids for sandboxes come from.
type Leases struct {
	// Take leases ranges for dir, a folder of the caller's own.
	Take func(dir string, count int) (ranges []isolate.IDRange, release func() error, err error)
	// Forget releases all that were leased for a folder, by somebody who was killed.
	Forget func(dir string) error
}

// workPrefix is what the names of such folders begin with.
const workPrefix = ".debian-"

// NewWork begins, once what was left by builds that were killed is gone.
func NewWork(stateDir string, leases Leases) (_ *Work, err error) {
	if err := Sweep(stateDir, leases); err != nil {
		return nil, err
	}
	dir, err := workdir.Make(stateDir, workPrefix)
	if err != nil {
		return nil, err
	}
	w := &Work{dir: dir}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.Close())
		}
	}()
	failpoint.Hit("template.work.made")
	ranges, release, err := leases.Take(dir.Path, 1)
	if err != nil {
		return nil, err
	}
	w.ids, w.release = ranges[0], release
	failpoint.Hit("template.ids.leased")
	return w, nil
}

// Close gives back what it has. The folder goes last: as long as it is there
// somebody knows of the rest.
func (w *Work) Close() error {
	var err error
	if w.release != nil {
		err = w.release()
	}
	return errors.Join(err, w.dir.Remove())
}

// Sweep removes what builds have left that were killed: their sandboxes, which have
// ended with them, their ids and their folders.
func Sweep(stateDir string, leases Leases) error {
	err := workdir.Sweep(stateDir, workPrefix, func(dir string) error { return discard(dir, leases) })
	if err != nil {
		return fmt.Errorf("remove what an earlier build has left: %w", err)
	}
	return nil
}

// Left is what builds that were killed have left in a state folder.
type Left struct {
	StateDir string
	Leases   Leases
}

// Leftovers are the names of their folders.
func (l Left) Leftovers() ([]string, error) { return workdir.Left(l.StateDir, workPrefix) }

// RemoveLeftover removes one of them with what belongs to it, unless somebody works
// in it.
func (l Left) RemoveLeftover(name string) error {
	if !strings.HasPrefix(name, workPrefix) {
		return &fs.PathError{Op: "remove", Path: name, Err: fs.ErrInvalid}
	}
	return workdir.Sweep(l.StateDir, name, func(dir string) error { return discard(dir, l.Leases) })
}

func discard(dir string, leases Leases) error {
	boxes, err := isolate.Sandboxes()
	if err != nil {
		return err
	}
	for id, owner := range boxes {
		if owner == dir {
			if err := isolate.RemoveCgroup(id); err != nil {
				return err
			}
		}
	}
	if err := leases.Forget(dir); err != nil {
		return err
	}
	return os.RemoveAll(dir)
}
