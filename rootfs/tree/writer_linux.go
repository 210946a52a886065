package tree

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gilliam/hypervisor/rootfs/member"
)

// A Writer makes one tree.
type Writer struct {
	// Skipped counts what was left out: devices, FIFOs and sockets.
	Skipped int

	// Read is told of every so many bytes of content that were written. Nil means
	// no one.
	Read func(bytes int)

	root  *os.File
	times map[string]time.Time // of folders, to be set at the end
	layer map[inode]bool       // what the layer that is being read has made; nil: it is none
	buf   []byte

	at   string // the folder that here is
	here *os.File
}

// An inode is one file, whatever it is called.
type inode struct{ dev, ino uint64 }

// NewWriter begins a tree in dir, which is to be empty.
func NewWriter(dir string) (*Writer, error) {
	root, err := os.OpenFile(dir, os.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	return &Writer{root: root, times: make(map[string]time.Time), buf: make([]byte, 128<<10)}, nil
}

// Close closes the tree, and nothing else.
func (w *Writer) Close() error {
	w.leave()
	return w.root.Close()
}

// Finish gives folders their times, once nothing is made in them any more.
func (w *Writer) Finish() error {
	for name, t := range w.times {
		f, err := w.open(name)
		if gone(err) {
			continue // it was replaced, or removed
		}
		if err != nil {
			return err
		}
		err = futimes(f, t)
		if err := errors.Join(err, f.Close()); err != nil {
			return &os.PathError{Op: "utimensat", Path: name, Err: err}
		}
	}
	return nil
}

// Tar makes what a tar (pax(1)) holds.
func (w *Writer) Tar(ctx context.Context, r io.Reader) error {
	w.layer = nil
	return w.tar(ctx, r)
}

// Layer is [Writer.Tar] for the layer of a container image: names that begin with
// .wh. take away what is there from layers before.
func (w *Writer) Layer(ctx context.Context, r io.Reader) error {
	w.leave() // what it makes in a folder is to be noticed
	w.layer = make(map[inode]bool)
	defer func() { w.layer = nil }()
	return w.tar(ctx, r)
}

func (w *Writer) tar(ctx context.Context, r io.Reader) error {
	for tr := tar.NewReader(r); ; {
		h, err := tr.Next()
		if err == io.EOF {
			return nil
		}
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
		if err := w.Add(h, tr); err != nil {
			return err
		}
	}
}

// Add makes what one header says.
func (w *Writer) Add(h *tar.Header, body io.Reader) error {
	name, err := names.Clean(h.Name)
	if err == nil {
		err = w.add(h, name, body)
	}
	if err != nil {
		return fmt.Errorf("entry %s: %w", member.Quote(h.Name), err)
	}
	return nil
}

func (w *Writer) add(h *tar.Header, name string, body io.Reader) error {
	if base := path.Base(name); w.layer != nil && strings.HasPrefix(base, whiteoutPrefix) {
		return w.whiteout(name, base)
	}
	if name == "." && h.Typeflag != tar.TypeDir && h.Typeflag != tar.TypeXGlobalHeader {
		return errors.New("the top of the tree must be a folder")
	}
	switch h.Typeflag {
	case tar.TypeXGlobalHeader: // git archive(1) writes one; it is about no file
		return nil
	case tar.TypeDir:
		return w.folder(h, name)
	case tar.TypeReg, tar.TypeGNUSparse:
		return w.file(h, name, body)
	case tar.TypeSymlink:
		return w.symlink(h, name)
	case tar.TypeLink:
		return w.link(h, name)
	case tar.TypeChar, tar.TypeBlock, tar.TypeFifo:
		w.Skipped++
		return nil
	}
	return fmt.Errorf("of unknown type %q", h.Typeflag)
}

// names are bounded by what the kernel takes in one call, and by what can be removed
// again without running out of descriptors.
var names = member.Names{Path: 4095, Depth: 255, Foreign: true}

// gone tells that there is no such folder.
func gone(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP)
}
