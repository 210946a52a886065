package rootfs

import (
	"archive/tar"
	"compress/flate"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
)

// UnpackLimits bound what an image may be. Zero values mean the defaults.
type UnpackLimits struct {
	Download int64 // bytes as sent; 256 MiB
	Bytes    int64 // bytes of all files; 1 GiB
	Entries  int   // files, folders and links, named or implied; 50,000
	Path     int   // bytes of a name; 4096
	Depth    int   // parts of a name; 64
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
	return l
}

// raw bounds the tar itself: what the files may hold, and for each entry its
// header, one PAX header (pax(1)) and what they are padded to. Without it, long
// headers or zeros at the end could keep us busy for no entry at all.
func (l UnpackLimits) raw() int64 { return l.Bytes + int64(l.Entries)*4096 + 1<<20 }

// stats say what an archive held.
type stats struct {
	Bytes   int64
	Entries int
}

// unpack makes the files of a gzip'd tar (RFC 1952, pax(1)) in root, an empty
// folder that no one else knows of. Nothing is ever made outside root, or
// through a link, or with a bit or an owner that gives a right. When it fails,
// root holds a part that is to be thrown away.
func unpack(r io.Reader, root *os.Root, lim UnpackLimits) (stats, error) {
	lim = lim.withDefaults()
	zr, err := gzip.NewReader(r)
	if err != nil {
		if errors.Is(err, gzip.ErrHeader) || err == io.EOF {
			err = errors.New("not a gzip'd tar: it has no gzip header")
		}
		return stats{}, archiveError(err)
	}
	in := &capped{r: zr, left: lim.raw(), lim: lim}
	u := newUnpacker(root, lim)
	err = u.all(tar.NewReader(in))
	if err == nil {
		err = onlyZeros(in)
	}
	if err == nil && u.Entries == 0 {
		err = errors.New("the archive is empty: it must hold the files of the app")
	}
	if err = errors.Join(err, u.close()); err != nil {
		return u.stats, archiveError(err)
	}
	return u.stats, nil
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

// capped ends a stream that is longer than any archive within the limits.
type capped struct {
	r    io.Reader
	left int64
	lim  UnpackLimits
}

func (c *capped) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	if c.left -= int64(n); c.left < 0 {
		return 0, errTooMuch(c.lim)
	}
	return n, err
}

func errTooMuch(lim UnpackLimits) error {
	return fmt.Errorf("unpacks to more than %s: make it smaller, or have the operator raise the limit", size(lim.Bytes))
}

// archiveError says what the errors of the decoders mean for who made the
// archive.
func archiveError(err error) error {
	var corrupt flate.CorruptInputError
	switch {
	case errors.Is(err, gzip.ErrHeader):
		return errors.New("damaged: there is data after the end of the gzip stream")
	case errors.Is(err, gzip.ErrChecksum):
		return errors.New("damaged: the gzip checksum is wrong")
	case errors.As(err, &corrupt):
		return fmt.Errorf("damaged: the gzip data is corrupt at byte %d", int64(corrupt))
	case errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("ends too early: the file or its transfer is cut off")
	case errors.Is(err, tar.ErrHeader), errors.Is(err, tar.ErrFieldTooLong):
		return fmt.Errorf("not a gzip'd tar: %w", err)
	}
	return err
}
