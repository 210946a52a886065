package tree

import (
	"archive/tar"
	"context"
	"errors"
	"io"
	"os"
	"path"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/gilliam/hypervisor/rootfs/manifest"
)

// Folder makes what is in a folder. Nobody is to write there meanwhile.
func (w *Writer) Folder(ctx context.Context, dir string) error {
	w.layer = nil
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	top, err := root.Lstat(".")
	if err != nil {
		return err
	}
	into, err := w.root.Stat()
	if err != nil {
		return err
	}
	c := copier{ctx: ctx, w: w, dev: top.Sys().(*syscall.Stat_t).Dev, first: make(map[uint64]string), into: into}
	return c.entry(root, ".", ".")
}

// A copier walks a folder and says what is there as a tar would.
type copier struct {
	ctx   context.Context
	w     *Writer
	dev   uint64
	first map[uint64]string // the first name of each inode that has several
	into  os.FileInfo       // the folder that the tree is made in
}

// entry copies name in dir, and what is below it; at is its path.
func (c *copier) entry(dir *os.Root, name, at string) error {
	if err := c.ctx.Err(); err != nil {
		return err
	}
	fi, err := dir.Lstat(name)
	if err != nil {
		return err
	}
	if os.SameFile(fi, c.into) {
		return &os.PathError{Op: "copy", Path: at, Err: errors.New("the template would be a part of itself: choose a folder that does not hold the state folder")}
	}
	st := fi.Sys().(*syscall.Stat_t)
	if st.Dev != c.dev {
		return &os.PathError{Op: "copy", Path: at, Err: errors.New("something is mounted there: umount it first")}
	}
	h := &tar.Header{Name: at, Mode: int64(st.Mode & 0o7777), Uid: int(st.Uid), Gid: int(st.Gid), ModTime: fi.ModTime()}
	if h.PAXRecords, err = attributes(dir, name); err != nil {
		return &os.PathError{Op: "listxattr", Path: at, Err: err}
	}
	if st.Nlink > 1 && st.Mode&unix.S_IFMT != unix.S_IFDIR {
		if old, ok := c.first[st.Ino]; ok {
			h.Typeflag, h.Linkname = tar.TypeLink, old
			return c.w.Add(h, nil)
		}
		c.first[st.Ino] = at
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		return c.folder(dir, h, name, at)
	case unix.S_IFREG:
		h.Typeflag = tar.TypeReg
		f, err := dir.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
		if err != nil {
			return err
		}
		return errors.Join(c.w.Add(h, f), f.Close())
	case unix.S_IFLNK:
		h.Typeflag = tar.TypeSymlink
		if h.Linkname, err = dir.Readlink(name); err != nil {
			return err
		}
		return c.w.Add(h, nil)
	}
	h.Typeflag = tar.TypeFifo // or what else is left out
	delete(c.first, st.Ino)
	return c.w.Add(h, nil)
}

func (c *copier) folder(dir *os.Root, h *tar.Header, name, at string) error {
	h.Typeflag = tar.TypeDir
	if err := c.w.Add(h, nil); err != nil {
		return err
	}
	sub, err := dir.OpenRoot(name)
	if err != nil {
		return err
	}
	defer sub.Close()
	f, err := sub.Open(".")
	if err != nil {
		return err
	}
	defer f.Close()
	for {
		names, err := f.Readdirnames(1024)
		for _, name := range names {
			if err := c.entry(sub, name, path.Join(at, name)); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// attributes are the extended attributes of name in dir, as a tar has them.
func attributes(dir *os.Root, name string) (map[string]string, error) {
	found, err := manifest.XattrsAt(dir, name)
	if err != nil || len(found) == 0 {
		return nil, err
	}
	records := make(map[string]string, len(found))
	for name, value := range found {
		records[paxXattr+name] = value
	}
	return records, nil
}
