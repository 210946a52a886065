package oci

import (
	"archive/tar"
	"errors"
	"io/fs"
	"path"
	"strings"
)

// What begins the names of files that stand for what is taken away, and of the one
// that stands for all that the folder holds in the layers below (image-spec,
// layer.md). Further names with the first twice are of AUFS's own.
const (
	whiteoutPrefix = ".wh."
	opaqueName     = ".wh..opq" // after whiteoutPrefix
)

// whiteout takes something away of the layers below: name in the folder dir.
func (u *unpacker) whiteout(h *tar.Header, dir, name string) error {
	switch {
	case h.Typeflag != tar.TypeReg || h.Size != 0:
		return errors.New("its name begins with .wh., which stands for what is taken away, and it is no empty file")
	case name == "" || name == "." || name == "..":
		return errors.New("it takes away what has no name of its own")
	case name == opaqueName:
		if err := u.folder(dir); err != nil {
			return err
		}
		return u.opaque(dir)
	case strings.HasPrefix(name, whiteoutPrefix):
		return u.count()
	}
	name = path.Join(dir, name)
	if _, ok := u.dirs[name]; ok { // of this layer: what is below goes
		return errors.Join(u.count(), u.opaque(name))
	}
	if _, err := u.root.Lstat(name); err == nil && u.dirs[dir] != nil { // of this layer, or taken away already
		return u.count()
	}
	at, base, err := u.place(name)
	if err != nil {
		return err
	}
	u.gone[name] = true
	return makeNode(at, base, fs.ModeCharDevice)
}

// opaque hides all that a folder holds in the layers below.
func (u *unpacker) opaque(name string) error {
	if name == "." {
		u.Opaque = true
		return nil
	}
	d, err := u.root.Open(name)
	if err != nil {
		return err
	}
	defer d.Close()
	return setOpaque(d)
}

// fifo makes a named pipe.
func (u *unpacker) fifo(h *tar.Header, name string) error {
	dir, base, err := u.place(name)
	if err != nil {
		return err
	}
	if err := makeNode(dir, base, fs.ModeNamedPipe|mode(h)); err != nil {
		return err
	}
	return dir.Lchown(base, h.Uid, h.Gid)
}
