package rootfs

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"time"
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
	f, err := dir.OpenFile(base, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	// Without the wrapping, io.Copy would not use our buffer.
	n, err := io.CopyBuffer(struct{ io.Writer }{f}, struct{ io.Reader }{body}, u.buf)
	u.Bytes += n
	u.Disk += (n + blockSize - 1) &^ (blockSize - 1)
	if err != nil {
		return err
	}
	if err := u.ratio(u.Bytes); err != nil {
		return err
	}
	if err := f.Chmod(fileMode(h.Mode)); err != nil {
		return err
	}
	t := sane(h.ModTime)
	return dir.Chtimes(base, t, t)
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
	switch {
	case target == "" || len(target) > u.lim.Path:
		return fmt.Errorf("a symbolic link whose target is empty or longer than %d bytes", u.lim.Path)
	case strings.ContainsRune(target, 0):
		return errors.New("a symbolic link to a name with NUL")
	}
	dir, base, err := u.place(name)
	if err != nil {
		return err
	}
	return dir.Symlink(target, base)
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
	return u.root.Link(old, name)
}

// sane brings a time into what every file system can keep and Go can convert:
// 1970 to 2242.
func sane(t time.Time) time.Time {
	if s := t.Unix(); s < 0 || s >= 1<<33 {
		return time.Unix(0, 0)
	}
	return t
}
