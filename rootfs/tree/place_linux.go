package tree

import (
	"errors"
	"fmt"
	"os"
	"path"

	"golang.org/x/sys/unix"
)

// open opens a folder of the tree as who has the tree for a root would: links are
// followed, but lead nowhere outside (openat2(2), Linux 5.6).
func (w *Writer) open(name string) (*os.File, error) {
	how := unix.OpenHow{
		Flags:   unix.O_RDONLY | unix.O_DIRECTORY | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS | unix.RESOLVE_NO_XDEV,
	}
	for {
		fd, err := unix.Openat2(int(w.root.Fd()), name, &how)
		switch err {
		case nil:
			return os.NewFile(uintptr(fd), name), nil
		case unix.EINTR, unix.EAGAIN:
			continue
		}
		return nil, &os.PathError{Op: "openat2", Path: name, Err: err}
	}
}

// parent opens the folder that name lies in, and makes it and those above it where
// they are missing: root's, 0755. The caller does not close it.
func (w *Writer) parent(name string) (*os.File, error) {
	at := path.Dir(name)
	if w.here != nil && w.at == at {
		return w.here, nil
	}
	here, err := w.open(at)
	if errors.Is(err, unix.ENOENT) && at != "." {
		var above *os.File
		if above, err = w.parent(at); err != nil {
			return nil, err
		}
		if err = unix.Mkdirat(int(above.Fd()), path.Base(at), 0o755); err == unix.EEXIST {
			return nil, fmt.Errorf("%q leads nowhere", at)
		}
		if err != nil {
			return nil, &os.PathError{Op: "mkdirat", Path: at, Err: err}
		}
		if here, err = w.open(at); err == nil {
			err = errors.Join(here.Chmod(0o755), w.made(here, "."))
		}
	}
	if errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
		return nil, fmt.Errorf("%q is no folder", at)
	}
	if err != nil {
		if here != nil {
			err = errors.Join(err, here.Close())
		}
		return nil, err
	}
	w.leave()
	w.at, w.here = at, here
	return here, w.entered(here)
}

// entered remembers that the layer makes something in the folder here: neither that
// nor one above it is taken away by what the layer takes away.
func (w *Writer) entered(here *os.File) error {
	if w.layer == nil {
		return nil
	}
	top, err := os.Readlink(fdPath(w.root))
	if err != nil {
		return err
	}
	at, err := os.Readlink(fdPath(here)) // as it is, however it was come by
	if err != nil {
		return err
	}
	for ; len(at) > len(top); at = path.Dir(at) {
		var st unix.Stat_t
		if err := unix.Lstat(at, &st); err != nil {
			return &os.PathError{Op: "lstat", Path: at, Err: err}
		}
		w.layer[inode{st.Dev, st.Ino}] = true
	}
	return nil
}

// leave forgets the folder that was opened last.
func (w *Writer) leave() {
	if w.here != nil {
		w.here.Close()
		w.here = nil
	}
}

// look is what name in dir is, itself and not what it leads to.
func look(dir *os.File, name string) (unix.Stat_t, bool, error) {
	var st unix.Stat_t
	err := unix.Fstatat(int(dir.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW)
	if err == unix.ENOENT {
		return st, false, nil
	}
	if err != nil {
		return st, false, &os.PathError{Op: "fstatat", Path: name, Err: err}
	}
	return st, true, nil
}

// made remembers that the layer has made name in dir.
func (w *Writer) made(dir *os.File, name string) error {
	if w.layer == nil {
		return nil
	}
	st, _, err := look(dir, name)
	w.layer[inode{st.Dev, st.Ino}] = true
	return err
}

// remove removes name from dir, with all that is in it, and follows nothing.
func remove(dir *os.File, name string) error {
	err := unix.Unlinkat(int(dir.Fd()), name, 0)
	if err == nil || err == unix.ENOENT {
		return nil
	}
	if err != unix.EISDIR {
		return &os.PathError{Op: "unlinkat", Path: name, Err: err}
	}
	root, err := os.OpenRoot(fdPath(dir))
	if err != nil {
		return err
	}
	return errors.Join(root.RemoveAll(name), root.Close())
}

// fdPath is a path of an open folder.
func fdPath(dir *os.File) string { return fmt.Sprintf("/proc/self/fd/%d", dir.Fd()) }
