package rootfs

import (
	"archive/tar"
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"

	"github.com/gilliam/hypervisor/rootfs/manifest"
	"github.com/gilliam/hypervisor/rootfs/member"
)

// UnpackLimits bound what an image may be. Zero values mean the defaults.
type UnpackLimits struct {
	Download int64 // bytes as sent; 256 MiB
	Bytes    int64 // bytes of all files; 1 GiB
	Entries  int   // files, folders and links, named or implied; 50,000
	Path     int   // bytes of a name; 4096
	Depth    int   // parts of a name; 64
	Ratio    int64 // bytes unpacked for one byte sent, beyond the first 64 MiB; 250
}

func (l UnpackLimits) withDefaults() UnpackLimits {
	if l.Download == 0 {
		l.Download = 256 << 20
	}
	if l.Bytes == 0 {
		l.Bytes = 1 << 30
	}
	if l.Entries == 0 {
		l.Entries = 50_000
	}
	if l.Path == 0 {
		l.Path = 4096
	}
	if l.Depth == 0 {
		l.Depth = 64
	}
	if l.Ratio == 0 {
		l.Ratio = 250
	}
	return l
}

// ratioFrom is how much may be unpacked whatever the ratio: what is small does no
// harm, and a few zeros are packed very small.
const ratioFrom = 64 << 20

// withContainerDefaults are those of container images, which bring a whole system.
func (l UnpackLimits) withContainerDefaults() UnpackLimits {
	if l.Download == 0 {
		l.Download = 2 << 30
	}
	if l.Bytes == 0 {
		l.Bytes = 4 << 30
	}
	if l.Entries == 0 {
		l.Entries = 400_000
	}
	return l.withDefaults()
}

// names are what entries may be called.
func (l UnpackLimits) names() member.Names { return member.Names{Path: l.Path, Depth: l.Depth} }

// raw bounds the tar itself: what the files may hold, and for each entry its
// header, one PAX header (pax(1)) and what they are padded to. Without it, long
// headers or zeros at the end could keep us busy for no entry at all.
func (l UnpackLimits) raw() int64 { return l.Bytes + int64(l.Entries)*4096 + 1<<20 }

// stats say what an archive held.
type stats struct {
	Format  string // "tar", "tar+gzip", "zip", …
	Bytes   int64
	Disk    int64 // bytes of the blocks that it takes, about
	Entries int
	List    manifest.Manifest
}

// unpack makes the files of an archive in root, an empty folder that no one else
// knows of: a tar (pax(1)), plain or compressed as [Decompress] knows it, while it
// is read, or a zip, whose directory is at its end, by way of an empty file that
// spool makes. Nothing is ever made outside root, or through a link, or with a bit
// or an owner that gives a right. When it fails, root holds a part that is to be
// thrown away. A reader that may keep one waiting has a method abort, which ends
// that.
//
// Names that differ by case, or in how Unicode composes a letter, are different
// names: so they are to the kernel, and honest archives hold both (the sources of
// Linux do). On a file system for which they are the same, the second is refused
// or replaces the first, as if it had been written alike.
func unpack(r io.Reader, root *os.Root, lim UnpackLimits, spool func() (*os.File, error)) (stats, error) {
	lim = lim.withDefaults()
	abort := func() {}
	if a, ok := r.(interface{ abort() }); ok {
		abort = a.abort
	}
	ahead := newAhead(r, 1, abort) // what has come is not kept back
	defer ahead.close()
	sent := &meter{r: ahead}
	in := bufio.NewReaderSize(sent, 64<<10)
	head, err := in.Peek(4)
	switch {
	case len(head) == 0 && err == io.EOF:
		return stats{}, errors.New("empty: the server has sent nothing; check that the URL is right")
	case err != nil && err != io.EOF:
		return stats{}, err
	}
	u := newUnpacker(root, lim, sent)
	u.abort = abort
	if err = u.unpack(in, bytes.Equal(head, []byte(zipMagic)), spool); err == nil {
		u.List, err = u.manifest()
	}
	return u.stats, errors.Join(err, u.close())
}

// unpack makes all entries, and returns when their sums are there.
func (u *unpacker) unpack(in io.Reader, zipped bool, spool func() (*os.File, error)) (err error) {
	u.sums = newHasher()
	defer u.sums.close()
	if zipped {
		err = u.unzip(in, spool)
	} else {
		err = u.untar(in)
	}
	if err == nil && u.Entries == 0 {
		err = errors.New("the archive is empty: it must hold the files of the app")
	}
	return err
}

// untar unpacks a tar that may be compressed.
func (u *unpacker) untar(r io.Reader) error {
	zr, how, err := Decompress(r)
	if err != nil {
		return err
	}
	defer zr.Close() // after what reads ahead
	u.Format = "tar"
	if how != Uncompressed {
		u.Format += "+" + string(how)
	}
	tarred := io.Reader(zr)
	if how != Uncompressed {
		ahead := newAhead(zr, chunkSize, u.abort)
		defer ahead.close()
		tarred = ahead
	}
	in := bufio.NewReaderSize(&capped{r: tarred, u: u}, 512) // for sniff; all else goes by it
	if err := sniff(in, how); err != nil {
		return err
	}
	if err := u.all(tar.NewReader(in)); err != nil {
		return archiveError(err)
	}
	return onlyZeros(in)
}

// onlyZeros reads what follows the end of the archive, which may be nothing but
// padding: other readers could see another archive there.
func onlyZeros(r io.Reader) error {
	buf := make([]byte, 32<<10)
	for {
		n, err := r.Read(buf)
		for _, b := range buf[:n] {
			if b != 0 {
				return errors.New("damaged: there is data after the end of the archive")
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

// A meter counts what is read.
type meter struct {
	r io.Reader
	n atomic.Int64
}

func (m *meter) Read(p []byte) (int, error) {
	n, err := m.r.Read(p)
	m.n.Add(int64(n))
	return n, err
}

// capped ends a tar that is longer than any within the limits.
type capped struct {
	r io.Reader
	u *unpacker
	n int64
}

func (c *capped) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	if c.n += int64(n); c.n > c.u.lim.raw() {
		return 0, errTooMuch(c.u.lim)
	}
	if e := c.u.ratio(c.n); e != nil {
		return 0, e
	}
	return n, err
}

func (u *unpacker) ratio(unpacked int64) error { return u.lim.ratio(u.sent.n.Load(), unpacked) }

// ratio keeps to the limit of the ratio.
func (l UnpackLimits) ratio(sent, unpacked int64) error {
	if unpacked > ratioFrom && unpacked/l.Ratio > sent {
		return fmt.Errorf("a bomb: %s of it unpack to more than %s", size(sent), size(unpacked))
	}
	return nil
}

func errTooMuch(lim UnpackLimits) error {
	return fmt.Errorf("unpacks to more than %s: make it smaller, or have the operator raise the limit", size(lim.Bytes))
}

// archiveError says what the errors of package tar mean for who made the archive.
func archiveError(err error) error {
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF):
		return errCut
	case errors.Is(err, tar.ErrHeader), errors.Is(err, tar.ErrFieldTooLong):
		return fmt.Errorf("damaged: %w", err)
	}
	return err
}
