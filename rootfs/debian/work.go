package debian

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/gilliam/hypervisor/isolate"
	"github.com/gilliam/hypervisor/isolate/failpoint"
)

// A Work is what one build has of the machine while it goes on: a folder, locked,
// by which what a killed one has left is known, and ids for its sandboxes.
type Work struct {
	dir     string
	lock    *os.File
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
	w, err := claim(stateDir)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.Close())
		}
	}()
	failpoint.Hit("template.work.made")
	ranges, release, err := leases.Take(w.dir, 1)
	if err != nil {
		return nil, err
	}
	w.ids, w.release = ranges[0], release
	failpoint.Hit("template.ids.leased")
	return w, nil
}

// claim makes a folder and locks it, before somebody else has swept it away.
func claim(stateDir string) (*Work, error) {
	for {
		dir, err := os.MkdirTemp(stateDir, workPrefix) // 0700
		if err != nil {
			return nil, err
		}
		lock, err := os.Open(dir)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, errors.Join(err, os.Remove(dir))
		}
		var st unix.Stat_t
		err = unix.Flock(int(lock.Fd()), unix.LOCK_EX)
		if err == nil {
			err = unix.Fstat(int(lock.Fd()), &st)
		}
		if err == nil && st.Nlink > 0 {
			return &Work{dir: dir, lock: lock}, nil
		}
		lock.Close()
		if err != nil {
			return nil, errors.Join(&fs.PathError{Op: "lock", Path: dir, Err: err}, os.Remove(dir))
		}
	}
}

// Close gives back what it has. The folder goes last: as long as it is there
// somebody knows of the rest.
func (w *Work) Close() error {
	var err error
	if w.release != nil {
		err = w.release()
	}
	err = errors.Join(err, os.RemoveAll(w.dir))
	if w.lock != nil {
		err = errors.Join(err, w.lock.Close())
	}
	return err
}

// Sweep removes what builds have left that were killed: their sandboxes, which have
// ended with them, their ids and their folders.
func Sweep(stateDir string, leases Leases) error {
	entries, err := os.ReadDir(stateDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), workPrefix) {
			if err := sweep(filepath.Join(stateDir, e.Name()), leases); err != nil {
				return fmt.Errorf("remove what an earlier build has left: %w", err)
			}
		}
	}
	return nil
}

// sweep removes one folder, unless a build still works in it.
func sweep(dir string, leases Leases) error {
	lock, err := os.Open(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); errors.Is(err, unix.EWOULDBLOCK) {
		return nil
	}
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
