package oci

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"

	"github.com/gilliam/hypervisor/rootfs/member"
)

// folder makes a folder and those above it, or finds that they are there. Those
// that no entry is about are root's, 0755.
func (u *unpacker) folder(name string) error {
	if _, ok := u.dirs[name]; ok {
		return u.count()
	}
	dir, base, err := u.parent(name)
	if err != nil {
		return err
	}
	if err := u.count(); err != nil {
		return err
	}
	anew := u.gone[name]
	if anew {
		if err := dir.Remove(base); err != nil {
			return err
		}
		delete(u.gone, name)
	}
	if err := dir.Mkdir(base, 0o700); errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s was no folder before, and is to be one now", quote(name))
	} else if err != nil {
		return err
	}
	u.dirs[name] = &folder{Mode: 0o755}
	u.Disk += block
	if anew {
		return u.opaque(name)
	}
	return nil
}

// parent opens the folder that name lies in, making it if need be.
func (u *unpacker) parent(name string) (dir *os.Root, base string, err error) {
	at, base := path.Dir(name), path.Base(name)
	if _, ok := u.dirs[at]; !ok {
		if err := u.folder(at); err != nil {
			return nil, "", err
		}
	}
	if u.here != nil && u.at == at {
		return u.here, base, nil
	}
	here, err := u.root.OpenRoot(at)
	if err != nil {
		return nil, "", err
	}
	if u.here != nil {
		u.here.Close()
	}
	u.at, u.here = at, here
	return here, base, nil
}

// place makes room for what is no folder: of two entries of one name the last
// wins, but a folder stays a folder. What was there is unlinked, never written to,
// for it may have other names.
func (u *unpacker) place(name string) (dir *os.Root, base string, err error) {
	if _, ok := u.dirs[name]; ok {
		return nil, "", errors.New("it was a folder before, and is to be something else now")
	}
	if dir, base, err = u.parent(name); err != nil {
		return nil, "", err
	}
	if err := u.count(); err != nil {
		return nil, "", err
	}
	if err := dir.Remove(base); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, "", err
	}
	delete(u.gone, name)
	return dir, base, nil
}

// block is what file systems give out space in.
const block = 4096

// file makes a regular file.
func (u *unpacker) file(h *tar.Header, name string, body io.Reader) (err error) {
	if h.Size > u.lim.Bytes-u.Bytes {
		return errTooMuch(u.lim)
	}
	dir, base, err := u.place(name)
	if err != nil {
		return err
	}
	f, err := dir.OpenFile(base, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	// Without the wrapping, io.Copy would not use our buffer.
	n, err := io.CopyBuffer(struct{ io.Writer }{f}, growing{body, u}, u.buf)
	u.Disk += (n + block - 1) &^ (block - 1)
	if err != nil {
		return err
	}
	if err := f.Chown(h.Uid, h.Gid); err != nil {
		return err
	}
	if err := f.Chmod(mode(h)); err != nil {
		return err
	}
	t := member.Time(h.ModTime)
	return dir.Chtimes(base, t, t)
}

// growing counts what is read of a file, holes included, of which the tar has nothing.
type growing struct {
	r io.Reader
	u *unpacker
}

func (g growing) Read(p []byte) (int, error) {
	n, err := g.r.Read(p)
	g.u.Bytes += int64(n)
	if e := g.u.lim.May(g.u.Bytes); e != nil {
		return 0, e
	}
	return n, err
}

// symlink makes a symbolic link that says what the layer says: it will be followed
// in the sandbox only.
func (u *unpacker) symlink(h *tar.Header, name string) error {
	if err := u.lim.names().Target(h.Linkname); err != nil {
		return err
	}
	dir, base, err := u.place(name)
	if err != nil {
		return err
	}
	if err := dir.Symlink(h.Linkname, base); err != nil {
		return err
	}
	return dir.Lchown(base, h.Uid, h.Gid)
}

// link makes a further name for a file of this layer, and for nothing else: a
// layer is shared by images that have others below it.
func (u *unpacker) link(name, target string) error {
	old, err := u.clean(target)
	if err != nil {
		return fmt.Errorf("hard link to %s: %w", quote(target), err)
	}
	absent := fmt.Errorf("hard link to %s, which is not in this layer before it", quote(target))
	if _, ok := u.dirs[path.Dir(old)]; !ok {
		return absent
	}
	fi, err := u.root.Lstat(old)
	if err != nil || u.gone[old] {
		return absent
	}
	if !fi.Mode().IsRegular() && fi.Mode()&fs.ModeSymlink == 0 {
		return fmt.Errorf("hard link to %s, which is neither a file nor a symbolic link", quote(target))
	}
	if old == name { // tar(1) writes these when it is given a file twice
		return u.count()
	}
	if _, _, err := u.place(name); err != nil {
		return err
	}
	return u.root.Link(old, name)
}
