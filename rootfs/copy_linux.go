package rootfs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/gilliam/hypervisor/rootfs/manifest"
)

// Fill copies the tree of a template into the draft: owners, modes, times, hard
// links and extended attributes too. Where the file system can share what is in
// files (ioctl_ficlone(2)) it does. It is for trees that nobody writes to meanwhile.
func (d *Draft) Fill(ctx context.Context, from Template) error {
	c := copier{from: from.Path, to: d.Dir, linked: map[uint64]string{}}
	err := filepath.WalkDir(from.Path, func(path string, e fs.DirEntry, err error) error {
		if err == nil {
			err = ctx.Err()
		}
		if err == nil {
			err = c.one(path, e)
		}
		return err
	})
	for n := len(c.folders) - 1; err == nil && n >= 0; n-- { // now that nothing is made in them any more
		err = c.folders[n].stamp()
	}
	if err != nil {
		return fmt.Errorf("copy template %s: %w", from.Ref(), err)
	}
	return nil
}

// A copier copies one tree.
type copier struct {
	from, to string
	linked   map[uint64]string // copies of files with several names, by inode
	folders  []stamped
}

// A stamped file gets its times when all else is done.
type stamped struct {
	path  string
	times []unix.Timespec
}

func (s stamped) stamp() error {
	return pathError("utimensat", s.path, unix.UtimesNanoAt(unix.AT_FDCWD, s.path, s.times, unix.AT_SYMLINK_NOFOLLOW))
}

// one copies a file of any type.
func (c *copier) one(path string, e fs.DirEntry) error {
	fi, err := e.Info()
	if err != nil {
		return err
	}
	rel, err := filepath.Rel(c.from, path)
	if err != nil {
		return err
	}
	st, to := fi.Sys().(*syscall.Stat_t), filepath.Join(c.to, rel)
	if !fi.IsDir() && st.Nlink > 1 {
		if first, ok := c.linked[st.Ino]; ok {
			return os.Link(first, to)
		}
		c.linked[st.Ino] = to
	}
	switch fi.Mode().Type() {
	case fs.ModeDir:
		if err = os.Mkdir(to, 0o700); rel == "." {
			err = nil // it is there
		}
	case 0:
		err = copyFile(path, to)
	case fs.ModeSymlink:
		var target string
		if target, err = os.Readlink(path); err == nil {
			err = os.Symlink(target, to)
		}
	default:
		err = pathError("mknod", to, unix.Mknod(to, st.Mode, int(st.Rdev)))
	}
	if err != nil {
		return err
	}
	return c.attributes(path, to, st)
}

// attributes gives a copy what the file has beside its content. The owner comes
// first: a change of it takes setuid bits and capabilities away (chown(2)).
func (c *copier) attributes(path, to string, st *syscall.Stat_t) error {
	if err := os.Lchown(to, int(st.Uid), int(st.Gid)); err != nil {
		return err
	}
	if st.Mode&syscall.S_IFMT != syscall.S_IFLNK {
		if err := pathError("chmod", to, unix.Chmod(to, st.Mode&0o7777)); err != nil {
			return err
		}
	}
	if err := copyXattrs(path, to); err != nil {
		return err
	}
	s := stamped{to, []unix.Timespec{unix.Timespec(st.Atim), unix.Timespec(st.Mtim)}}
	if st.Mode&syscall.S_IFMT == syscall.S_IFDIR {
		c.folders = append(c.folders, s)
		return nil
	}
	return s.stamp()
}

// copyFile copies what is in a regular file.
func copyFile(path, to string) (err error) {
	in, err := os.Open(path)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	if unix.IoctlFileClone(int(out.Fd()), int(in.Fd())) == nil {
		return nil
	}
	_, err = io.Copy(out, in) // by copy_file_range(2)
	return err
}

// copyXattrs copies the extended attributes that belong to a file, which are not those
// that the host's security modules give to files by themselves.
func copyXattrs(path, to string) error {
	found, err := manifest.Xattrs(path)
	if err != nil {
		return pathError("listxattr", path, err)
	}
	for name, value := range found {
		if err := unix.Lsetxattr(to, name, []byte(value), 0); err != nil {
			return pathError("lsetxattr "+name, to, err)
		}
	}
	return nil
}

func pathError(op, path string, err error) error {
	if err == nil {
		return nil
	}
	return &fs.PathError{Op: op, Path: path, Err: err}
}
