package rootfs

import (
	"crypto/rand"
	"errors"
	"io"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// maxNesting is how many folders deep discard goes before it moves what is
// below up to the top, so that no depth can exhaust file descriptors, or the
// length of a path.
const maxNesting = 32

// discard removes the folder name in parent and all that is in it, or the file
// of that name. It is made for trees that a tenant has written: it opens folders
// only, follows no link, is never further than one folder from where it acts,
// goes to any depth, and does not cross a mount: unlinkat(2) and renameat(2) say
// EBUSY to one. What was not there is no error.
func discard(parent *os.File, name string) error {
	err := unlink(parent, name)
	if !errors.Is(err, errFull) {
		return err
	}
	top, err := openFolder(parent, name)
	if err != nil {
		return absent(err)
	}
	defer top.Close()
	if err := empty(top, top, 0); err != nil {
		return err
	}
	return unlink(parent, name)
}

// errFull is a folder that is not empty.
var errFull = errors.New("folder not empty")

// unlink removes one file or one empty folder.
func unlink(dir *os.File, name string) error {
	fd := int(dir.Fd())
	err := unix.Unlinkat(fd, name, 0)
	// Linux says EISDIR to a folder, POSIX EPERM.
	if err == unix.EISDIR || err == unix.EPERM {
		if e := unix.Unlinkat(fd, name, unix.AT_REMOVEDIR); e != unix.ENOTDIR {
			err = e
		}
	}
	switch err {
	case nil, unix.ENOENT:
		return nil
	case unix.ENOTEMPTY, unix.EEXIST:
		return errFull
	}
	return &fs.PathError{Op: "unlinkat", Path: name, Err: err}
}

// empty removes all that is in dir, which lies depth folders below top.
func empty(dir, top *os.File, depth int) error {
	for {
		// From the start each time: what a folder lists while it is being
		// changed is not defined by readdir(3).
		if _, err := dir.Seek(0, io.SeekStart); err != nil {
			return err
		}
		names, err := dir.Readdirnames(1024)
		if err == io.EOF || (err == nil && len(names) == 0) {
			return nil
		}
		if err != nil {
			return absent(err)
		}
		for _, name := range names {
			if err := clear(dir, top, name, depth); err != nil {
				return err
			}
		}
	}
}

// clear removes name from dir, be it by moving it to top, where empty will find
// it later.
func clear(dir, top *os.File, name string, depth int) error {
	err := unlink(dir, name)
	if !errors.Is(err, errFull) {
		return err
	}
	if depth == maxNesting {
		err := unix.Renameat(int(dir.Fd()), name, int(top.Fd()), rand.Text())
		if err != nil && err != unix.ENOENT {
			return &fs.PathError{Op: "renameat", Path: name, Err: err}
		}
		return nil
	}
	sub, err := openFolder(dir, name)
	if err != nil {
		return absent(err)
	}
	defer sub.Close()
	if err := empty(sub, top, depth+1); err != nil {
		return err
	}
	return unlink(dir, name)
}

// absent forgives that something is not there (any more).
func absent(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
