package proc

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/gilliam/hypervisor/isolate"
	"github.com/gilliam/hypervisor/server/proc/lease"
)

// LeaseIDs leases as many ranges of host ids as count says, for sandboxes that
// are no procs, of those that the hypervisors with this folder of locks share
// out. Dir is a folder of the caller's own: once it is gone the ranges are
// nobody's. The caller calls release when nothing of its sandboxes is left.
func LeaseIDs(runDir, dir string, count int) (ranges []isolate.IDRange, release func() error, err error) {
	ids, err := openIDs(runDir, dir)
	if err != nil {
		return nil, nil, err
	}
	var taken []int
	release = func() error {
		var errs []error
		for i, n := range taken {
			errs = append(errs, ids.Release(n, strconv.Itoa(i)))
		}
		return errors.Join(append(errs, ids.Close(), removeRunDir(runDir))...)
	}
	for i := range count {
		holder := strconv.Itoa(i) // as a proc in the folder would be
		err := os.MkdirAll(filepath.Join(dir, "procs", holder), 0o700)
		n := 0
		if err == nil {
			n, err = ids.Take(holder)
		}
		if err != nil {
			return nil, nil, errors.Join(fmt.Errorf("lease ids: %w", err), release())
		}
		taken, ranges = append(taken, n), append(ranges, idsOf(n))
	}
	return ranges, release, nil
}

// ReleaseIDs releases all ranges that were leased for dir: whoever leased them was
// killed, and nothing of its sandboxes is left.
func ReleaseIDs(runDir, dir string) error {
	ids, err := openIDs(runDir, dir)
	if err != nil {
		return err
	}
	held, err := ids.Held()
	for n, holder := range held {
		err = errors.Join(err, ids.Release(n, holder))
	}
	return errors.Join(err, ids.Close(), removeRunDir(runDir))
}

// openIDs opens the pool of ranges of ids for a state folder. It gives out the
// lowest: the engine keeps a user namespace for each range that was used.
func openIDs(runDir, stateDir string) (*lease.Pool, error) {
	return lease.Open(filepath.Join(runDir, "ids"), stateDir, lease.Numbers{Count: idRanges, Free: idsFree, Lowest: true})
}

// removeRunDir removes the folder of locks when it is empty, and so ours; what
// else is in it is someone else's.
func removeRunDir(dir string) error {
	if err := os.Remove(dir); err != nil && !errors.Is(err, unix.ENOTEMPTY) && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
