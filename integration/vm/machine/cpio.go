package machine

import (
	"bufio"
	"fmt"
	"io"
	"io/fs"
	"strings"
)

// An Archive writes a cpio archive as the kernel takes it for an initramfs: the
// format "newc" of cpio(5) and Documentation/driver-api/early-userspace/
// buffer-format.rst. All in it is root's and has no date: the same files make
// the same archive.
type Archive struct {
	w     *bufio.Writer
	inode int
	size  int64 // of what was written
}

// The file types of inode(7).
const (
	typeDir  = 0o040000
	typeChar = 0o020000
	typeFile = 0o100000
)

// NewArchive writes to w. The archive is whole after [Archive.Close].
func NewArchive(w io.Writer) *Archive { return &Archive{w: bufio.NewWriter(w)} }

// Dir adds a folder. The folders above it must have been added before.
func (a *Archive) Dir(name string, perm fs.FileMode) error {
	return a.entry(name, typeDir|uint32(perm.Perm()), 0, 0, nil)
}

// File adds a file.
func (a *Archive) File(name string, perm fs.FileMode, content []byte) error {
	return a.entry(name, typeFile|uint32(perm.Perm()), 0, 0, content)
}

// Char adds a character device.
func (a *Archive) Char(name string, perm fs.FileMode, major, minor uint32) error {
	return a.entry(name, typeChar|uint32(perm.Perm()), major, minor, nil)
}

// Close writes the end of the archive; it does not close what it writes to.
func (a *Archive) Close() error {
	a.inode = -1
	if err := a.entry("TRAILER!!!", 0, 0, 0, nil); err != nil {
		return err
	}
	return a.w.Flush()
}

func (a *Archive) entry(name string, mode, major, minor uint32, content []byte) error {
	name = strings.TrimPrefix(name, "/")
	if int64(len(content)) > 1<<32-1 {
		return &fs.PathError{Op: "archive", Path: name, Err: fs.ErrInvalid}
	}
	a.inode++
	links := 1
	if mode&typeDir == typeDir {
		links = 2
	}
	for _, piece := range []string{
		// ino mode uid gid nlink mtime filesize devmajor devminor rdevmajor rdevminor namesize check
		fmt.Sprintf("070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x",
			a.inode, mode, 0, 0, links, 0, len(content), 0, 0, major, minor, len(name)+1, 0) + name + "\x00",
		string(content),
	} {
		n, err := a.w.WriteString(piece)
		a.size += int64(n)
		if err != nil {
			return &fs.PathError{Op: "archive", Path: name, Err: err}
		}
		for ; a.size%4 != 0; a.size++ {
			if err := a.w.WriteByte(0); err != nil {
				return &fs.PathError{Op: "archive", Path: name, Err: err}
			}
		}
	}
	return nil
}
