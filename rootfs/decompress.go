package rootfs

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/mikelolasagasti/xz"
)

// A Compression is how a stream is compressed.
type Compression string

// What [Decompress] knows.
const (
	Uncompressed Compression = ""
	Gzip         Compression = "gzip" // RFC 1952
	XZ           Compression = "xz"
	Zstd         Compression = "zstd" // RFC 8878
)

// MaxWindow is how far back a compressed stream may refer, and so about what a
// decoder may need of memory: as much as "xz -9" and "zstd --ultra -21" ask for.
const MaxWindow = 64 << 20

// compressions are told apart by their first bytes.
var compressions = []struct {
	magic string
	how   Compression
	open  func(*bufio.Reader) (io.ReadCloser, error)
}{
	{"\x1f\x8b", Gzip, openGzip},
	{"\xfd7zXZ\x00", XZ, openXZ},
	{"\x28\xb5\x2f\xfd", Zstd, openZstd},
}

// Decompress reads what r holds, be it compressed with gzip, xz or zstd or not at
// all, which its first bytes tell. Several such streams behind one another are
// one; anything else behind them is an error. It needs no more memory than
// [MaxWindow] and a little, whatever r says. The errors of a damaged stream say so
// in words for whoever made it; those of r itself come through as they are. The
// caller closes what it gets, which does not close r.
func Decompress(r io.Reader) (io.ReadCloser, Compression, error) {
	src := &faithful{r: r}
	in := bufio.NewReaderSize(src, 64<<10)
	head, err := in.Peek(6)
	if err != nil && err != io.EOF {
		return nil, Uncompressed, err
	}
	for _, c := range compressions {
		if !bytes.HasPrefix(head, []byte(c.magic)) {
			continue
		}
		d := &decoder{how: c.how, src: src}
		if d.ReadCloser, err = c.open(in); err != nil {
			return nil, c.how, d.explain(err)
		}
		return d, c.how, nil
	}
	return io.NopCloser(in), Uncompressed, nil
}

// openGzip is for a bufio.Reader and nothing around it: of that package flate takes
// bits itself, of anything else by a call for each byte, which takes 1.7 times as long.
func openGzip(r *bufio.Reader) (io.ReadCloser, error) { return gzip.NewReader(r) }

// openXZ takes a decoder that refuses a dictionary that is too large before it
// makes one; others let the stream have up to 4 GiB.
func openXZ(r *bufio.Reader) (io.ReadCloser, error) {
	zr, err := xz.NewReader(r, MaxWindow)
	if err != nil {
		return nil, err
	}
	return io.NopCloser(zr), nil
}

// openZstd decodes in the caller's goroutine and starts none.
func openZstd(r *bufio.Reader) (io.ReadCloser, error) {
	zr, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(MaxWindow))
	if err != nil {
		return nil, err
	}
	return zr.IOReadCloser(), nil
}

// A faithful reader remembers its own error, for the decoders hide it in theirs.
type faithful struct {
	r   io.Reader
	err error
}

func (f *faithful) Read(p []byte) (int, error) {
	n, err := f.r.Read(p)
	if err != nil && err != io.EOF {
		f.err = err
	}
	return n, err
}

// A decoder is one of the three with errors in our words.
type decoder struct {
	io.ReadCloser
	src  *faithful
	how  Compression
	some bool // it has given something
}

func (d *decoder) Read(p []byte) (int, error) {
	n, err := d.ReadCloser.Read(p)
	d.some = d.some || n > 0
	if err != nil && err != io.EOF {
		err = d.explain(err)
	}
	return n, err
}

// explain says what an error of a decoder means.
func (d *decoder) explain(err error) error {
	var at flate.CorruptInputError
	switch {
	case d.src.err != nil:
		return d.src.err
	case errors.Is(err, xz.ErrMemlimit), errors.Is(err, zstd.ErrWindowSizeExceeded), errors.Is(err, zstd.ErrDecoderSizeExceeded):
		return fmt.Errorf("needs more than %s of memory to decompress: compress it with a smaller window, as %s does by default", size(MaxWindow), d.how)
	case err == io.EOF, errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, xz.ErrBuf):
		return errCut
	case d.some && (errors.Is(err, gzip.ErrHeader) || errors.Is(err, xz.ErrFormat) || errors.Is(err, zstd.ErrMagicMismatch)):
		return fmt.Errorf("damaged: there is data after the end of the %s stream", d.how)
	case errors.Is(err, gzip.ErrChecksum), errors.Is(err, zstd.ErrCRCMismatch):
		return fmt.Errorf("damaged: the %s checksum is wrong", d.how)
	case errors.As(err, &at):
		return fmt.Errorf("damaged: the gzip data is corrupt at byte %d", int64(at))
	}
	return fmt.Errorf("damaged: the %s data is corrupt: %w", d.how, err)
}

// errCut is a stream without its end.
var errCut = &kindError{io.ErrUnexpectedEOF, "ends too early: the file or its transfer is cut off"}
