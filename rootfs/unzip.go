package rootfs

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/klauspost/compress/flate"
)

// maxZipDirectory bounds the directory of a zip, all of which is read into memory.
const maxZipDirectory = 32 << 20

// unzip unpacks a zip (APPNOTE.TXT of PKWARE). Its directory is at its end and it
// is that which counts, so that all of the zip must be on the disk first; its
// length is bounded by what may be sent.
func (u *unpacker) unzip(r io.Reader, spool func() (*os.File, error)) (err error) {
	u.Format = "zip"
	f, err := spool()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	n, err := io.CopyBuffer(struct{ io.Writer }{f}, struct{ io.Reader }{r}, u.sums.buffer())
	if err != nil {
		return err
	}
	dir := &directory{r: f, entries: u.lim.Entries}
	zr, err := zip.NewReader(dir, n)
	if err != nil {
		return zipError(err)
	}
	dir.done = true
	zr.RegisterDecompressor(zip.Deflate, flate.NewReader)
	for _, e := range zr.File {
		if err := u.zipped(e); err != nil {
			return err
		}
	}
	return u.times()
}

// zipped makes what one entry of the directory says.
func (u *unpacker) zipped(e *zip.File) error {
	h, err := zipHeader(e)
	if err != nil {
		return fmt.Errorf("entry %s: %w", quote(e.Name), err)
	}
	var body io.Reader
	if h.Typeflag == tar.TypeReg || h.Typeflag == tar.TypeSymlink {
		rc, err := e.Open()
		if err != nil {
			return fmt.Errorf("entry %s: %w", quote(e.Name), zipError(err))
		}
		defer rc.Close()
		body = zipBody{rc}
	}
	if h.Typeflag == tar.TypeSymlink {
		target, err := io.ReadAll(io.LimitReader(body, int64(u.lim.Path)+1))
		if err != nil {
			return fmt.Errorf("entry %s: %w", quote(e.Name), err)
		}
		h.Linkname, h.Size = string(target), 0
	}
	return u.entry(h, body)
}

// zipHeader says in tar's words what an entry of a zip is.
func zipHeader(e *zip.File) (*tar.Header, error) {
	h := &tar.Header{Name: e.Name, Mode: int64(e.Mode().Perm()), ModTime: e.Modified, Size: int64(e.UncompressedSize64), Typeflag: tar.TypeReg}
	switch m := e.Mode(); {
	case e.Flags&1 != 0:
		return nil, errors.New("encrypted: pack it without a password")
	case strings.ContainsRune(e.Name, '\\'):
		return nil, errors.New("a name with a backslash: names in a zip have slashes, whatever the system that it was made on")
	case e.UncompressedSize64 > 1<<62:
		return nil, errors.New("too large")
	case m.IsDir():
		h.Typeflag = tar.TypeDir
	case m&fs.ModeSymlink != 0:
		h.Typeflag = tar.TypeSymlink
	case m&fs.ModeNamedPipe != 0:
		h.Typeflag = tar.TypeFifo
	case m&(fs.ModeDevice|fs.ModeCharDevice) != 0:
		h.Typeflag = tar.TypeChar
	case !m.IsRegular():
		return nil, errors.New("of unknown type: an image may hold files, folders and links only")
	}
	return h, nil
}

// zipError says what the errors of package zip mean for who made the archive.
func zipError(err error) error {
	var corrupt flate.CorruptInputError
	switch {
	case errors.Is(err, zip.ErrAlgorithm):
		return errors.New("compressed in another way than store or deflate: pack it with \"zip -r\"")
	case errors.Is(err, zip.ErrFormat), errors.Is(err, zip.ErrChecksum), errors.As(err, &corrupt):
		return fmt.Errorf("damaged: %w", err)
	case errors.Is(err, io.ErrUnexpectedEOF):
		return errCut
	}
	return err
}

// A zipBody is what a file in a zip holds, with errors in our words.
type zipBody struct{ r io.Reader }

func (z zipBody) Read(p []byte) (int, error) {
	n, err := z.r.Read(p)
	if err != nil && err != io.EOF {
		err = zipError(err)
	}
	return n, err
}

// A directory is a zip while its directory is read, which is kept to the limits:
// how many entries it has is nowhere said so that one could rely on it. Later it
// is the zip and nothing more.
type directory struct {
	r       io.ReaderAt
	entries int // how many there may be
	read    int
	found   int
	tail    []byte
	done    bool
}

func (d *directory) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, zip.ErrFormat
	}
	n, err := d.r.ReadAt(p, off)
	if d.done {
		return n, err
	}
	d.read += n
	// A signature may lie across two reads.
	d.found += bytes.Count(p[:n], []byte("PK\x01\x02")) + bytes.Count(append(d.tail, p[:min(n, 3)]...), []byte("PK\x01\x02"))
	d.tail = append(d.tail[:0], p[max(0, n-3):n]...)
	if d.read > maxZipDirectory || d.found > d.entries+2000 { // the end is read more than once
		return 0, errors.New("a zip archive with too large a directory: make it smaller, or have the operator raise the limit")
	}
	return n, err
}
