package tree

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gilliam/hypervisor/rootfs/manifest"
	"github.com/gilliam/hypervisor/rootfs/member"
)

// folder makes a folder, or gives one that is there what the entry says.
func (w *Writer) folder(h *tar.Header, name string) error {
	if name == "." {
		if err := w.own(w.root, h); err != nil {
			return err
		}
		w.times[name] = h.ModTime
		return nil
	}
	dir, err := w.parent(name)
	if err != nil {
		return err
	}
	base := path.Base(name)
	st, there, err := look(dir, base)
	if err != nil {
		return err
	}
	if there && st.Mode&unix.S_IFMT != unix.S_IFDIR {
		if err := remove(dir, base); err != nil {
			return err
		}
		there = false
	}
	if !there {
		if err := unix.Mkdirat(int(dir.Fd()), base, 0o700); err != nil {
			return &os.PathError{Op: "mkdirat", Path: name, Err: err}
		}
	}
	f, err := openAt(dir, base, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer f.Close()
	w.times[name] = h.ModTime
	return errors.Join(w.own(f, h), w.made(f, "."))
}

// file makes a regular file.
func (w *Writer) file(h *tar.Header, name string, body io.Reader) error {
	dir, err := w.vacate(name)
	if err != nil {
		return err
	}
	f, err := openAt(dir, path.Base(name), unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL)
	if err != nil {
		return err
	}
	defer f.Close()
	for {
		n, err := body.Read(w.buf)
		if n > 0 {
			if _, err := f.Write(w.buf[:n]); err != nil {
				return err
			}
			if w.Read != nil {
				w.Read(n)
			}
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
	}
	if err := errors.Join(w.own(f, h), w.made(dir, path.Base(name))); err != nil {
		return err
	}
	return futimes(f, h.ModTime)
}

// symlink makes a symbolic link, wherever it leads: it is followed in sandboxes,
// and by us within the tree.
func (w *Writer) symlink(h *tar.Header, name string) error {
	if err := names.Target(h.Linkname); err != nil {
		return err
	}
	if err := checkIDs(h); err != nil {
		return err
	}
	dir, err := w.vacate(name)
	if err != nil {
		return err
	}
	base, fd := path.Base(name), int(dir.Fd())
	if err := unix.Symlinkat(h.Linkname, fd, base); err != nil {
		return &os.PathError{Op: "symlinkat", Path: name, Err: err}
	}
	if err := unix.Fchownat(fd, base, h.Uid, h.Gid, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return &os.PathError{Op: "fchownat", Path: name, Err: err}
	}
	if err := unix.UtimesNanoAt(fd, base, stamps(h.ModTime), unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return &os.PathError{Op: "utimensat", Path: name, Err: err}
	}
	return w.made(dir, base)
}

// link makes a further name for a file of the tree.
func (w *Writer) link(h *tar.Header, name string) error {
	target, err := names.Clean(h.Linkname)
	if err != nil {
		return fmt.Errorf("hard link to %s: %w", member.Quote(h.Linkname), err)
	}
	from, err := w.open(path.Dir(target))
	if gone(err) {
		return fmt.Errorf("hard link to %s, which is not there before it", member.Quote(h.Linkname))
	}
	if err != nil {
		return err
	}
	defer from.Close()
	old, there, err := look(from, path.Base(target))
	if err != nil {
		return err
	}
	if kind := old.Mode & unix.S_IFMT; !there || kind != unix.S_IFREG && kind != unix.S_IFLNK {
		return fmt.Errorf("hard link to %s, which is not there before it, or no file", member.Quote(h.Linkname))
	}
	dir, err := w.parent(name)
	if err != nil {
		return err
	}
	now, there, err := look(dir, path.Base(name))
	if err != nil {
		return err
	}
	if there && now.Dev == old.Dev && now.Ino == old.Ino { // tar(1) writes these when it is given a file twice
		return w.made(dir, path.Base(name))
	}
	if dir, err = w.vacate(name); err != nil {
		return err
	}
	if err := unix.Linkat(int(from.Fd()), path.Base(target), int(dir.Fd()), path.Base(name), 0); err != nil {
		return &os.LinkError{Op: "linkat", Old: target, New: name, Err: err}
	}
	return w.made(dir, path.Base(name))
}

// vacate opens the folder that name is to be made in, and makes room there.
func (w *Writer) vacate(name string) (*os.File, error) {
	dir, err := w.parent(name)
	if err != nil {
		return nil, err
	}
	return dir, remove(dir, path.Base(name))
}

func openAt(dir *os.File, name string, flags int) (*os.File, error) {
	fd, err := unix.Openat(int(dir.Fd()), name, flags|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, &os.PathError{Op: "openat", Path: name, Err: err}
	}
	return os.NewFile(uintptr(fd), name), nil
}

// own gives a file its owner, mode and attributes. The owner comes first: chown(2)
// takes setuid bits and capabilities away.
func (w *Writer) own(f *os.File, h *tar.Header) error {
	if err := checkIDs(h); err != nil {
		return err
	}
	if err := f.Chown(h.Uid, h.Gid); err != nil {
		return err
	}
	if err := unix.Fchmod(int(f.Fd()), uint32(h.Mode)&0o7777); err != nil {
		return &os.PathError{Op: "fchmod", Path: f.Name(), Err: err}
	}
	for key, value := range h.PAXRecords {
		name, ok := strings.CutPrefix(key, paxXattr)
		if !ok || !keeps(name) {
			continue
		}
		if err := unix.Fsetxattr(int(f.Fd()), name, []byte(value), 0); err != nil {
			return &os.PathError{Op: "fsetxattr " + name, Path: f.Name(), Err: err}
		}
	}
	return nil
}

// paxXattr begins the record of an extended attribute in a tar, as GNU tar and
// others write it.
const paxXattr = "SCHILY.xattr."

// keeps tells whether an attribute comes into the tree. Those of trusted. are
// overlayfs's.
func keeps(name string) bool {
	return manifest.Keeps(name) && !strings.HasPrefix(name, "trusted.")
}

// maxID is the last id that a sandbox has.
const maxID = 65535

func checkIDs(h *tar.Header) error {
	if h.Uid < 0 || h.Uid > maxID || h.Gid < 0 || h.Gid > maxID {
		return fmt.Errorf("belongs to %d:%d: a sandbox has the ids 0 to %d only", h.Uid, h.Gid, maxID)
	}
	return nil
}

func futimes(f *os.File, t time.Time) error {
	return unix.UtimesNanoAt(unix.AT_FDCWD, fdPath(f), stamps(t), 0)
}

// stamps are the two times of a file.
func stamps(t time.Time) []unix.Timespec {
	ts := unix.NsecToTimespec(member.Time(t).UnixNano())
	return []unix.Timespec{ts, ts}
}
