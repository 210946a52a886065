package rootfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"syscall"
)

// maxTreeFile bounds the files of a template that we read: its passwd and
// the like.
const maxTreeFile = 1 << 20

// readTreeFile reads a regular file of a tree that a stranger may have written.
// Links lead nowhere outside the tree, a FIFO or a device is refused and not
// waited for, and what is too long is refused.
func readTreeFile(root *os.Root, name string) ([]byte, error) {
	f, err := openTreeFile(root, name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readBounded(f, name)
}

// openTreeFile opens a regular file, and nothing else, of such a tree.
func openTreeFile(root *os.Root, name string) (*os.File, error) {
	// Look first: opening a device can already have an effect.
	if fi, err := root.Stat(name); err != nil {
		return nil, err
	} else if !fi.Mode().IsRegular() {
		return nil, &fs.PathError{Op: "read", Path: name, Err: errors.New("not a regular file")}
	}
	return root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
}

// readBounded reads f to its end, if that comes soon enough.
func readBounded(f *os.File, name string) ([]byte, error) {
	if fi, err := f.Stat(); err != nil {
		return nil, err
	} else if !fi.Mode().IsRegular() {
		return nil, &fs.PathError{Op: "read", Path: name, Err: errors.New("not a regular file")}
	}
	b, err := io.ReadAll(io.LimitReader(f, maxTreeFile+1))
	if err != nil {
		return nil, err
	}
	if len(b) > maxTreeFile {
		return nil, &fs.PathError{Op: "read", Path: name, Err: fmt.Errorf("longer than %s", size(maxTreeFile))}
	}
	return b, nil
}

// replaceTreeFile gives a file of the tree new content, so that at any instant
// there is either the old one or the new one: a temporary file beside it, fsync,
// rename. A symbolic link is replaced, not followed. The owner and the mode of a
// file that was there stay; a new one belongs to us and gets mode.
func replaceTreeFile(root *os.Root, name string, content []byte, mode fs.FileMode) (err error) {
	uid, gid := -1, -1
	if fi, err := root.Lstat(name); err == nil && fi.Mode().IsRegular() {
		mode = fi.Mode().Perm()
		uid, gid = owner(fi)
	} else if err == nil && fi.IsDir() {
		return &fs.PathError{Op: "replace", Path: name, Err: syscall.EISDIR}
	}
	tmp := name + "+" // the name that shadow-utils uses
	if err := root.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := root.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, root.Remove(tmp))
		}
	}()
	_, err = f.Write(content)
	if err == nil && uid != -1 {
		err = f.Chown(uid, gid)
	}
	if err == nil {
		err = f.Chmod(mode)
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err = root.Rename(tmp, name); err != nil {
		return err
	}
	return syncTreeFolder(root, path.Dir(name))
}

// syncTreeFolder makes a rename in the folder last.
func syncTreeFolder(root *os.Root, name string) error {
	d, err := root.Open(name)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// size shows a number of bytes to a person.
func size(n int64) string {
	const units = "KMGT"
	if n < 1<<10 {
		return fmt.Sprintf("%d bytes", n)
	}
	f, u := float64(n)/(1<<10), 0
	for f >= 1<<10 && u < len(units)-1 {
		f, u = f/(1<<10), u+1
	}
	return fmt.Sprintf("%.4g %ciB", f, units[u])
}
