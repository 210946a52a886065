package workdir

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// A Dir is a folder that somebody works in.
type Dir struct {
	Path string

	lock *os.File // the folder itself
}

// Make makes a folder in parent whose name begins with prefix, mode 0700, and locks
// it before somebody else has swept it away.
func Make(parent, prefix string) (*Dir, error) {
	for {
		path, err := os.MkdirTemp(parent, prefix) // 0700
		if err != nil {
			return nil, err
		}
		lock, err := os.Open(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, errors.Join(err, os.Remove(path))
		}
		var st unix.Stat_t
		err = unix.Flock(int(lock.Fd()), unix.LOCK_EX)
		if err == nil {
			err = unix.Fstat(int(lock.Fd()), &st)
		}
		if err == nil && st.Nlink > 0 {
			return &Dir{Path: path, lock: lock}, nil
		}
		lock.Close()
		if err != nil {
			return nil, errors.Join(&fs.PathError{Op: "lock", Path: path, Err: err}, os.Remove(path))
		}
	}
}

// Remove removes the folder with all that is in it, and then unlocks it.
func (d *Dir) Remove() error {
	return errors.Join(os.RemoveAll(d.Path), d.Abandon())
}

// Abandon unlocks the folder and leaves it to the next [Sweep].
func (d *Dir) Abandon() error { return d.lock.Close() }

// Left are the names of the folders in parent that begin with prefix and that nobody
// works in any more, in order.
func Left(parent, prefix string) (names []string, err error) {
	err = each(parent, prefix, unix.LOCK_SH, func(path string) error {
		names = append(names, filepath.Base(path))
		return nil
	})
	return names, err
}

// Sweep calls discard, which is to remove it, with the path of each folder in parent
// whose name begins with prefix and that nobody works in any more.
func Sweep(parent, prefix string, discard func(path string) error) error {
	return each(parent, prefix, unix.LOCK_EX, discard)
}

// each calls do with the path of each such folder, locked so.
func each(parent, prefix string, how int, do func(path string) error) error {
	entries, err := os.ReadDir(parent)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), prefix) {
			if err := locked(filepath.Join(parent, e.Name()), how, do); err != nil {
				return err
			}
		}
	}
	return nil
}

func locked(path string, how int, do func(path string) error) error {
	lock, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer lock.Close()
	err = unix.Flock(int(lock.Fd()), how|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil
	}
	if err != nil {
		return &fs.PathError{Op: "lock", Path: path, Err: err}
	}
	return do(path)
}
