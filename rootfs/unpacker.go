package rootfs

import (
	"archive/tar"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"time"

	"github.com/gilliam/hypervisor/rootfs/manifest"
	"github.com/gilliam/hypervisor/rootfs/member"
)

// An unpacker makes one entry after the other. It remembers every folder that
// it has made; what is not among them is no folder, so that no entry can be
// written through a link. What it reads from has read ahead in goroutines of its
// own, and so has sums, to which it gives what is to be hashed.
type unpacker struct {
	stats
	root *os.Root
	lim  UnpackLimits
	sent *meter // the archive as it comes

	abort func()               // ends what is waited for there
	dirs  map[string]time.Time // cleaned name to the time it is to have at the end
	list  map[string]made
	sums  *hasher

	at   string // the folder that here is
	here *os.File
}

func newUnpacker(root *os.Root, lim UnpackLimits, sent *meter) *unpacker {
	return &unpacker{root: root, lim: lim, sent: sent, abort: func() {}, dirs: map[string]time.Time{".": {}}, list: map[string]made{}}
}

// A made entry is to have its sum, if it has one, when all are known.
type made struct {
	manifest.Entry
	sum *sum
}

// note lists what was made. Of two entries of one name the last is what there is.
func (u *unpacker) note(e manifest.Entry, s *sum) {
	e.UID, e.GID = uint32(os.Geteuid()), uint32(os.Getegid())
	u.list[e.Path] = made{e, s}
}

// manifest is the list of all that was made. The sums must be there.
func (u *unpacker) manifest() (manifest.Manifest, error) {
	for name := range u.dirs {
		u.note(manifest.Entry{Path: name, Type: manifest.Dir, Mode: 0o755}, nil)
	}
	all := make([]manifest.Entry, 0, len(u.list))
	for _, m := range u.list {
		if m.sum != nil {
			m.SHA256 = hex.EncodeToString(m.sum[:])
		}
		all = append(all, m.Entry)
	}
	return manifest.New(all)
}

// all makes every entry of a tar.
func (u *unpacker) all(tr *tar.Reader) error {
	for {
		h, err := tr.Next()
		if err == io.EOF {
			return u.times()
		}
		if err != nil {
			return err
		}
		if err := u.entry(h, tr); err != nil {
			return err
		}
	}
}

// times gives the folders their times, when nothing is made in them any more.
func (u *unpacker) times() error {
	for name, t := range u.dirs {
		if t.IsZero() {
			continue
		}
		if err := u.root.Chtimes(name, t, t); err != nil {
			return err
		}
	}
	return nil
}

func (u *unpacker) close() error {
	if u.here == nil {
		return nil
	}
	return u.here.Close()
}

// entry makes what one header says.
func (u *unpacker) entry(h *tar.Header, body io.Reader) error {
	if h.Typeflag == tar.TypeXGlobalHeader {
		return nil // git archive(1) writes one; it is about no file
	}
	name, err := u.clean(h.Name)
	if err != nil {
		return fmt.Errorf("entry %s: %w", quote(h.Name), err)
	}
	if err := u.make(h, name, body); err != nil {
		var pe *fs.PathError
		if errors.As(err, &pe) { // the name is said already
			err = fmt.Errorf("%s: %w", pe.Op, pe.Err)
		}
		return fmt.Errorf("entry %s: %w", quote(h.Name), err)
	}
	return nil
}

func (u *unpacker) make(h *tar.Header, name string, body io.Reader) error {
	switch h.Typeflag {
	case tar.TypeDir:
		if err := u.folder(name); err != nil {
			return err
		}
		u.dirs[name] = member.Time(h.ModTime)
		return nil
	case tar.TypeReg, tar.TypeGNUSparse:
		if strings.HasSuffix(h.Name, "/") {
			return errors.New("a file whose name ends in a slash")
		}
		return u.file(h, name, body)
	case tar.TypeSymlink:
		return u.symlink(name, h.Linkname)
	case tar.TypeLink:
		return u.link(name, h.Linkname)
	case tar.TypeChar, tar.TypeBlock:
		return errors.New("a device: an image may hold files, folders and links only")
	case tar.TypeFifo:
		return errors.New("a FIFO: an image may hold files, folders and links only")
	}
	return fmt.Errorf("of unknown type %q: an image may hold files, folders and links only", h.Typeflag)
}

// clean checks a name and brings it into its one shape: "a/b" for "./a//b/".
// The top folder is ".".
func (u *unpacker) clean(name string) (string, error) {
	if strings.HasPrefix(name, "/") {
		return "", errors.New("an absolute name: pack with relative names (tar -C FOLDER .)")
	}
	name, err := u.lim.names().Clean(name)
	if err == nil && strings.Contains("/"+name, "/.wh.") {
		err = errors.New("a whiteout: this is a layer of a container image; pack the whole file system instead")
	}
	return name, err
}

// count keeps to the limit of entries. Folders that are only implied count too.
func (u *unpacker) count() error {
	u.Disk += blockSize / 4 // an inode and a name; a folder's own block is little more
	if u.Entries++; u.Entries > u.lim.Entries {
		return fmt.Errorf("the archive holds more than %d files: make it smaller, or have the operator raise the limit", u.lim.Entries)
	}
	return nil
}

// folder makes a folder and those above it, or finds that they are there. The
// mode is always 0755: the app, which is not the owner, must get in.
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
	if err := makeFolderAt(dir, base); errors.Is(err, fs.ErrExist) {
		fi, err := u.root.Lstat(name)
		if err != nil {
			return err
		}
		return fmt.Errorf("%s was a %s before, and is to be a folder now", quote(name), kindOf(fi.Mode()))
	} else if err != nil {
		return err
	}
	u.dirs[name] = time.Time{}
	return nil
}

// parent opens the folder that name lies in, making it if need be. That was one of
// ours, and base is one part of a name: what is made of base, without following
// it, is made in root.
func (u *unpacker) parent(name string) (dir *os.File, base string, err error) {
	at, base := path.Dir(name), path.Base(name)
	if _, ok := u.dirs[at]; !ok {
		if err := u.folder(at); err != nil {
			return nil, "", err
		}
	}
	if u.here != nil && u.at == at {
		return u.here, base, nil
	}
	here, err := u.root.Open(at)
	if err != nil {
		return nil, "", err
	}
	if u.here != nil {
		u.here.Close()
	}
	u.at, u.here = at, here
	return here, base, nil
}

// place makes room for a file or a link: of two entries of one name the last
// wins, but a folder stays a folder. What was there is unlinked, never written
// to, for it may have other names.
func (u *unpacker) place(name string) (dir *os.File, base string, err error) {
	if _, ok := u.dirs[name]; ok {
		return nil, "", errors.New("it was a folder before, and is to be something else now")
	}
	if dir, base, err = u.parent(name); err != nil {
		return nil, "", err
	}
	if err := u.count(); err != nil {
		return nil, "", err
	}
	if _, twice := u.list[name]; twice {
		if err := unlink(dir, base); err != nil {
			return nil, "", err
		}
	}
	return dir, base, nil
}
