package deb

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/gilliam/hypervisor/rootfs"
)

// What a package may take at most. The largest of Debian are below half of it.
const (
	maxBytes   = 8 << 30
	maxEntries = 1 << 20
	maxName    = 4096
)

// configSuffix is what dpkg appends to configuration files until it has configured
// their package.
const configSuffix = ".dpkg-new"

// Unpack puts the package's files into the tree and returns their names, as dpkg's
// database has them.
func (t *Tree) Unpack(p *Package) ([]string, error) {
	plain, _, err := rootfs.Decompress(p.data)
	if err != nil {
		return nil, fmt.Errorf("data of package %s: %w", p.Name(), err)
	}
	defer plain.Close()
	u := &unpacker{tree: t, dir: -1,
		me:      Owner{Name: p.Name(), Version: p.Version(), Replaces: p.Control.Get("Replaces")},
		configs: map[string]bool{}, buf: make([]byte, 256<<10)}
	defer func() { unix.Close(u.dir) }()
	for _, name := range p.Configs {
		u.configs[name] = true
	}
	in := tar.NewReader(plain)
	for {
		h, err := in.Next()
		if err == io.EOF {
			return u.names, nil
		}
		if err == nil {
			err = u.entry(h, in)
		}
		if err != nil {
			return nil, fmt.Errorf("unpack package %s: %w", p.Name(), err)
		}
	}
}

// An unpacker unpacks one package.
type unpacker struct {
	tree    *Tree
	me      Owner
	configs map[string]bool
	names   []string
	bytes   int64
	buf     []byte

	// The folder of the last entry: the next one is mostly in it, too.
	dir     int
	dirName string
}

// entry makes one.
func (u *unpacker) entry(h *tar.Header, body io.Reader) error {
	name := path.Clean("/" + h.Name)
	u.bytes += h.Size
	switch {
	case u.bytes > maxBytes || len(u.names) > maxEntries:
		return fmt.Errorf("it holds more than %d bytes or %d files", int64(maxBytes), maxEntries)
	case len(name) > maxName || strings.ContainsAny(name, "\x00\n") || strings.ContainsRune(h.Linkname, 0):
		return fmt.Errorf("%.80q is no name of a file", h.Name)
	case h.Uid < 0 || h.Gid < 0 || h.Uid > maxID || h.Gid > maxID:
		return fmt.Errorf("%s belongs to %d:%d, which a sandbox does not have", name, h.Uid, h.Gid)
	}
	if name == "/" {
		u.names = append(u.names, "/.")
		return nil
	}
	u.names = append(u.names, name)
	if err := u.tree.merge(name); err != nil {
		return err
	}
	if merged.MatchString(name[1:]) && h.Typeflag == tar.TypeDir {
		return nil
	}
	if err := u.enter(path.Dir(name)); err != nil {
		return &fs.PathError{Op: "open", Path: path.Dir(name), Err: err}
	}
	if err := u.make(h, name, body); err != nil {
		var over *overwriteError
		if errors.As(err, &over) {
			return err
		}
		return &fs.PathError{Op: "make", Path: name, Err: err}
	}
	return nil
}

// maxID is the last id that a sandbox has.
const maxID = 65535

// enter makes dir the folder that entries are made in.
func (u *unpacker) enter(dir string) error {
	if u.dir >= 0 && u.dirName == dir {
		return nil
	}
	fd, err := u.tree.folder(dir)
	if err != nil {
		return err
	}
	if u.dir >= 0 {
		unix.Close(u.dir)
	}
	u.dir, u.dirName = fd, dir
	return nil
}

func (u *unpacker) make(h *tar.Header, name string, body io.Reader) error {
	base := path.Base(name)
	if h.Typeflag == tar.TypeDir {
		return u.folder(h, base)
	}
	mine, err := u.claim(name)
	if err != nil || !mine {
		return err
	}
	if u.configs[name] {
		base += configSuffix
	}
	switch h.Typeflag {
	case tar.TypeReg:
		return u.file(h, base, body)
	case tar.TypeSymlink:
		if merged.MatchString(name[1:]) {
			return nil // ours is there
		}
		if err := u.anew(base, func() error { return unix.Symlinkat(h.Linkname, u.dir, base) }); err != nil {
			return err
		}
		return u.finish(h, base, true)
	case tar.TypeLink:
		return u.link(h, base)
	case tar.TypeFifo:
		if err := u.anew(base, func() error { return unix.Mknodat(u.dir, base, unix.S_IFIFO|0o600, 0) }); err != nil {
			return err
		}
		return u.finish(h, base, false)
	case tar.TypeChar, tar.TypeBlock:
		return nil // a sandbox has its own
	}
	return fmt.Errorf("an entry of type %q", h.Typeflag)
}

// folder makes a folder, or leaves one that is there, or a link to one, as it is.
func (u *unpacker) folder(h *tar.Header, base string) error {
	err := unix.Mkdirat(u.dir, base, 0o700)
	if err == nil {
		return u.finish(h, base, false)
	}
	if err != unix.EEXIST {
		return err
	}
	fd, err := u.tree.open(path.Join(u.dirName, base), unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	return unix.Close(fd)
}

// file makes a regular file.
func (u *unpacker) file(h *tar.Header, base string, body io.Reader) error {
	fd := -1
	err := u.anew(base, func() (err error) {
		fd, err = unix.Openat(u.dir, base, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
		return err
	})
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), base)
	n, err := io.CopyBuffer(struct{ io.Writer }{f}, struct{ io.Reader }{body}, u.buf)
	if err == nil && n != h.Size {
		err = io.ErrUnexpectedEOF
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	return u.finish(h, base, false)
}

// link makes a hard link to a file of the tree that came before.
func (u *unpacker) link(h *tar.Header, base string) error {
	target := path.Clean("/" + h.Linkname)
	if u.configs[target] {
		target += configSuffix
	}
	dir, err := u.tree.open(path.Dir(target), unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return fmt.Errorf("link to %s: %w", target, err)
	}
	defer unix.Close(dir)
	if err := u.anew(base, func() error { return unix.Linkat(dir, path.Base(target), u.dir, base, 0) }); err != nil {
		return fmt.Errorf("link to %s: %w", target, err)
	}
	return nil
}

// finish gives what was made its owner, mode and time. The owner comes first: a
// change of it takes setuid bits away (chown(2)).
func (u *unpacker) finish(h *tar.Header, base string, link bool) error {
	if err := unix.Fchownat(u.dir, base, h.Uid, h.Gid, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	if !link {
		if err := unix.Fchmodat(u.dir, base, uint32(h.Mode)&0o7777, 0); err != nil {
			return err
		}
	}
	at := unix.NsecToTimespec(h.ModTime.UnixNano())
	return unix.UtimesNanoAt(u.dir, base, []unix.Timespec{at, at}, unix.AT_SYMLINK_NOFOLLOW)
}

// anew makes what is called base, in place of what is there and is no folder: what
// another package brought that this one replaces, or what a script made.
func (u *unpacker) anew(base string, create func() error) error {
	err := create()
	if err != unix.EEXIST {
		return err
	}
	if err := unix.Unlinkat(u.dir, base, 0); err != nil {
		return err
	}
	return create()
}
