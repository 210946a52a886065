package rootfs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/gilliam/hypervisor/isolate/failpoint"
	"github.com/gilliam/hypervisor/rootfs/tree"
)

// ImportOptions say how a template is imported.
type ImportOptions struct {
	AdoptOptions

	// Wrote and Read are told of every so many bytes that were written into the
	// tree, and that were read again to list it. Read is called by several
	// goroutines at once. Nil means no one.
	Wrote, Read func(bytes int)
}

// An Imported is what came of an import.
type Imported struct {
	Template Template
	Skipped  int // devices, FIFOs and sockets that were left out
}

// Import makes a new version of a template of what from is: a folder with a root
// file system; a tar of one, compressed or not; a container image in OCI's layout,
// as a folder or as a tar of that; or what docker save writes. "-" is a tar that
// stdin has. Owners, modes and setuid bits stay; see package tree.
func (t *Templates) Import(ctx context.Context, name, from string, stdin io.Reader, opt ImportOptions) (_ Imported, err error) {
	d, err := t.Draft(name)
	if err != nil {
		return Imported{}, err
	}
	defer func() { err = errors.Join(err, d.Discard()) }()
	i := importer{d: d, opt: opt}
	what, err := i.fill(ctx, from, stdin)
	if err != nil {
		return Imported{}, fmt.Errorf("import %s: %w", from, err)
	}
	failpoint.Hit("template.filled")
	done, err := d.Seal(ctx, SealOptions{Source: what + " " + from, AdoptOptions: opt.AdoptOptions, Read: opt.Read})
	return Imported{Template: done, Skipped: i.skipped}, err
}

// An importer fills a draft.
type importer struct {
	d       *Draft
	opt     ImportOptions
	skipped int
}

// fill makes the tree, and says what it was made of.
func (i *importer) fill(ctx context.Context, from string, stdin io.Reader) (what string, err error) {
	if from == "-" {
		return i.tar(ctx, stdin)
	}
	fi, err := os.Stat(from)
	if err != nil {
		return "", err
	}
	switch {
	case !fi.IsDir() && !fi.Mode().IsRegular():
		return "", invalid("neither a folder nor a file: give a tar by the name -")
	case !fi.IsDir():
		f, err := os.Open(from)
		if err != nil {
			return "", err
		}
		defer f.Close()
		return i.tar(ctx, f)
	case isImage(from):
		return i.image(ctx, from)
	}
	return "folder", i.write(i.d.Dir, func(w *tree.Writer) error { return w.Folder(ctx, from) })
}

// write makes a tree in dir.
func (i *importer) write(dir string, make func(*tree.Writer) error) error {
	w, err := tree.NewWriter(dir)
	if err != nil {
		return err
	}
	w.Read = i.opt.Wrote
	err = make(w)
	if err == nil {
		err = w.Finish()
	}
	i.skipped += w.Skipped
	return errors.Join(err, w.Close())
}

// tar makes what a tar holds: a root file system, or an image.
func (i *importer) tar(ctx context.Context, r io.Reader) (what string, err error) {
	in, _, err := Decompress(r)
	if err != nil {
		return "", err
	}
	defer in.Close()
	if err := i.write(i.d.Dir, func(w *tree.Writer) error { return w.Tar(ctx, in) }); err != nil {
		return "", err
	}
	if !isImage(i.d.Dir) {
		return "tar", nil
	}
	image := filepath.Join(i.d.staging, "image")
	if err := os.Rename(i.d.Dir, image); err != nil {
		return "", err
	}
	if err := os.Mkdir(i.d.Dir, 0o755); err != nil {
		return "", err
	}
	what, err = i.image(ctx, image)
	if err == nil {
		err = discardFolders([]string{image})
	}
	return what, err
}

// isImage tells whether a folder is a container image and no root file system.
func isImage(dir string) bool {
	if isTree(dir) {
		return false
	}
	for _, name := range []string{layoutFile, savedFile} {
		if fi, err := os.Lstat(filepath.Join(dir, name)); err == nil && fi.Mode().IsRegular() {
			return true
		}
	}
	return false
}
