package rootfs

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"

	"github.com/gilliam/hypervisor/rootfs/manifest"
	"github.com/gilliam/hypervisor/rootfs/member"
)

// blockSize is what a file system hands out at least.
const blockSize = 4096

// file makes a regular file.
func (u *unpacker) file(h *tar.Header, name string, body io.Reader) (err error) {
	if h.Size > u.lim.Bytes-u.Bytes {
		return errTooMuch(u.lim)
	}
	dir, base, err := u.place(name)
	if err != nil {
		return err
	}
	mode := fileMode(h.Mode)
	f, err := makeFileAt(dir, base)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.close()) }()
	u.sums.begin(h.Size)
	n, err := u.fill(f, body)
	if err != nil {
		return err
	}
	u.Disk += (n + blockSize - 1) &^ (blockSize - 1)
	u.note(manifest.Entry{Path: name, Type: manifest.File, Mode: uint32(mode), Size: n}, u.sums.end())
	return f.finish(mode, member.Time(h.ModTime))
}

// fill writes what body holds, has it hashed, counts it, and keeps to the limits.
func (u *unpacker) fill(f newFile, body io.Reader) (n int64, err error) {
	for {
		buf := u.sums.buffer()
		k, err := body.Read(buf)
		if k > 0 {
			n += int64(k)
			u.Bytes += int64(k)
			if u.Bytes > u.lim.Bytes {
				return n, errTooMuch(u.lim)
			}
			if err := u.ratio(u.Bytes); err != nil {
				return n, err
			}
			u.sums.add(k)
			if err := f.write(buf[:k]); err != nil {
				return n, err
			}
		}
		if err == io.EOF {
			return n, nil
		}
		if err != nil {
			return n, err
		}
	}
}

// fileMode keeps what the owner may do and lets everyone read and execute as
// much: the app runs as another user than the owner, root. No one else may
// write, and the setuid, setgid and sticky bits are dropped.
func fileMode(mode int64) fs.FileMode {
	m := fs.FileMode(mode)&0o755 | 0o444
	if mode&0o111 != 0 {
		m |= 0o111
	}
	return m
}

// symlink makes a symbolic link that says what the archive says: it will be
// followed in the sandbox only.
func (u *unpacker) symlink(name, target string) error {
	if err := u.lim.names().Target(target); err != nil {
		return err
	}
	dir, base, err := u.place(name)
	if err != nil {
		return err
	}
	u.note(manifest.Entry{Path: name, Type: manifest.Link, Target: target, Mode: 0o777}, nil)
	return makeLinkAt(dir, base, target)
}

// link makes a further name for a file of this archive, and for nothing else.
func (u *unpacker) link(name, target string) error {
	old, err := u.clean(target)
	if err != nil {
		return fmt.Errorf("hard link to %s: %w", quote(target), err)
	}
	if _, ok := u.dirs[path.Dir(old)]; !ok {
		return fmt.Errorf("hard link to %s, which is not in the archive before it", quote(target))
	}
	fi, err := u.root.Lstat(old)
	if err != nil {
		return fmt.Errorf("hard link to %s, which is not in the archive before it", quote(target))
	}
	if !fi.Mode().IsRegular() {
		return fmt.Errorf("hard link to %s, which is a %s", quote(target), kindOf(fi.Mode()))
	}
	if old == name { // tar(1) writes these when it is given a file twice
		return u.count()
	}
	if _, _, err := u.place(name); err != nil {
		return err
	}
	e := u.list[old]
	e.Path = name
	u.note(e.Entry, e.sum)
	return u.root.Link(old, name)
}
