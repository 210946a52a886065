package oci

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

	"github.com/gilliam/hypervisor/rootfs/member"
)

// Limits bound what one layer may be. Zero values mean the defaults.
type Limits struct {
	Bytes   int64 // of all files; 4 GiB
	Entries int   // files, folders and links, named or implied, and what is taken away; 200,000
	Path    int   // bytes of a name; 4096
	Depth   int   // parts of a name; 64

	// May is asked, as it grows, whether the layer may be as large as that for what
	// has come of it, as a tar and unpacked: an error ends it. Nil means yes.
	May func(unpacked int64) error
}

func (l Limits) withDefaults() Limits {
	if l.Bytes == 0 {
		l.Bytes = 4 << 30
	}
	if l.Entries == 0 {
		l.Entries = 200_000
	}
	if l.Path == 0 {
		l.Path = 4096
	}
	if l.Depth == 0 {
		l.Depth = 64
	}
	if l.May == nil {
		l.May = func(int64) error { return nil }
	}
	return l
}

// names are what entries may be called.
func (l Limits) names() member.Names { return member.Names{Path: l.Path, Depth: l.Depth} }

// raw bounds the tar itself: what the files may hold, and for each entry its
// header, one PAX header and what they are padded to.
func (l Limits) raw() int64 { return l.Bytes + int64(l.Entries)*4096 + 1<<20 }

// Stats say what a layer holds.
type Stats struct {
	Bytes   int64 `json:"bytes"`
	Disk    int64 `json:"disk"` // bytes that its files take, about
	Entries int   `json:"entries"`

	// Opaque: nothing of the layers below is to be seen. It is told of the whole
	// layer, because overlayfs has no such mark for the top of one.
	Opaque bool `json:"opaque,omitempty"`
}

// Unpack makes what a layer, a tar, says in root, an empty folder that no one else
// knows of, in the form that overlayfs has: what the layer takes away of those
// below (image-spec, layer.md, “Whiteouts”) becomes a character device 0:0 or the
// attribute trusted.overlay.opaque (filesystems/overlayfs.rst).
//
// Nothing is ever made outside root or through a link. Owners are kept, as are
// permissions, but not setuid, setgid, or any extended attribute; devices are
// refused, other than in /dev, which no sandbox shows. When Unpack fails, root
// holds a part that is to be thrown away.
func Unpack(r io.Reader, root *os.Root, lim Limits) (Stats, error) {
	lim = lim.withDefaults()
	in := &capped{r: r, lim: lim}
	u := &unpacker{
		root: root, lim: lim, dirs: map[string]*folder{".": {Mode: 0o755}}, gone: map[string]bool{},
		buf: make([]byte, 128<<10),
	}
	err := u.all(tar.NewReader(in))
	if err == nil {
		_, err = io.Copy(io.Discard, in) // what is hashed must be read to its end
	}
	err = errors.Join(err, u.close())
	if errors.Is(err, tar.ErrHeader) || errors.Is(err, tar.ErrFieldTooLong) {
		err = fmt.Errorf("not a tar: %w", err)
	}
	return u.Stats, err
}

// capped ends a stream that is longer than any layer within the limits.
type capped struct {
	r   io.Reader
	n   int64
	lim Limits
}

func (c *capped) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	if c.n += int64(n); c.n > c.lim.raw() {
		return 0, errTooMuch(c.lim)
	}
	if e := c.lim.May(c.n); e != nil {
		return 0, e
	}
	return n, err
}

func errTooMuch(lim Limits) error {
	return fmt.Errorf("unpacks to more than %d bytes: make it smaller, or have the operator raise the limit", lim.Bytes)
}

// A folder is what a folder is to be at the end, when nothing is made in it any more.
type folder struct {
	Mode     fs.FileMode
	UID, GID int
	Time     time.Time
}

// An unpacker makes one entry after the other. It remembers every folder that it
// has made; what is not among them is no folder, so that no entry can be written
// through a link.
type unpacker struct {
	Stats
	root *os.Root
	lim  Limits
	dirs map[string]*folder // by cleaned name
	gone map[string]bool    // whiteouts that were made
	buf  []byte

	at   string // the folder that here is open at
	here *os.Root
}

func (u *unpacker) close() error {
	if u.here == nil {
		return nil
	}
	return u.here.Close()
}

// all makes every entry, and then the folders as they are to be.
func (u *unpacker) all(tr *tar.Reader) error {
	for {
		h, err := tr.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		if err := u.entry(h, tr); err != nil {
			var pe *fs.PathError
			if errors.As(err, &pe) { // the name is said already
				err = fmt.Errorf("%s: %w", pe.Op, pe.Err)
			}
			return fmt.Errorf("entry %s: %w", quote(h.Name), err)
		}
	}
	for name, f := range u.dirs {
		if err := u.root.Lchown(name, f.UID, f.GID); err != nil {
			return err
		}
		if err := u.root.Chmod(name, f.Mode); err != nil {
			return err
		}
		if f.Time.IsZero() {
			continue
		}
		if err := u.root.Chtimes(name, f.Time, f.Time); err != nil {
			return err
		}
	}
	return nil
}

// entry makes what one header says.
func (u *unpacker) entry(h *tar.Header, body io.Reader) error {
	if h.Typeflag == tar.TypeXGlobalHeader {
		return nil // it is about no file
	}
	name, err := u.clean(h.Name)
	if err != nil {
		return err
	}
	if whiteout, ok := strings.CutPrefix(path.Base(name), whiteoutPrefix); ok {
		return u.whiteout(h, path.Dir(name), whiteout)
	}
	if h.Uid < 0 || h.Uid > maxOwner || h.Gid < 0 || h.Gid > maxOwner {
		return fmt.Errorf("belongs to %d:%d: a sandbox has the ids 0 to %d", h.Uid, h.Gid, maxOwner)
	}
	switch h.Typeflag {
	case tar.TypeDir:
		if err := u.folder(name); err != nil {
			return err
		}
		*u.dirs[name] = folder{mode(h), h.Uid, h.Gid, member.Time(h.ModTime)}
		return nil
	case tar.TypeReg, tar.TypeGNUSparse:
		if strings.HasSuffix(h.Name, "/") {
			return errors.New("a file whose name ends in a slash")
		}
		return u.file(h, name, body)
	case tar.TypeSymlink:
		return u.symlink(h, name)
	case tar.TypeLink:
		return u.link(name, h.Linkname)
	case tar.TypeFifo:
		return u.fifo(h, name)
	case tar.TypeChar, tar.TypeBlock:
		if strings.HasPrefix(name, "dev/") {
			return u.count() // left out: a sandbox has a /dev of its own
		}
		return errors.New("a device, which only a sandbox's own /dev has: make the image without it")
	}
	return fmt.Errorf("of unknown type %q", h.Typeflag)
}

// maxOwner is the last id of a sandbox's range that may be somebody: 65534 is who
// unmapped ids are shown as.
const maxOwner = 65533

// mode keeps what a folder's or a file's owner, group and others may do, and the
// sticky bit of folders.
func mode(h *tar.Header) fs.FileMode {
	m := fs.FileMode(h.Mode).Perm()
	if h.Typeflag == tar.TypeDir && h.Mode&0o1000 != 0 {
		m |= fs.ModeSticky
	}
	return m
}

// clean brings a name into its one shape.
func (u *unpacker) clean(name string) (string, error) {
	name, err := u.lim.names().Clean(name)
	if err == nil && strings.Contains("/"+path.Dir(name), "/"+whiteoutPrefix) {
		err = errors.New("in a folder whose name begins with .wh., which stands for what is taken away")
	}
	return name, err
}

// count keeps to the limit of entries. Folders that are only implied count too.
func (u *unpacker) count() error {
	if u.Entries++; u.Entries > u.lim.Entries {
		return fmt.Errorf("the layer holds more than %d files: make it smaller, or have the operator raise the limit", u.lim.Entries)
	}
	return nil
}

func quote(s string) string { return member.Quote(s) }
