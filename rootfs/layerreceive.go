package rootfs

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/gilliam/hypervisor/rootfs/oci"
)

// receiveLayer unpacks a layer into root's folder tree while it arrives, and holds
// it to both of its digests.
func (i *Images) receiveLayer(ctx context.Context, from oci.Blobs, l oci.Layer, root *os.Root) (st oci.Stats, err error) {
	if err := root.Mkdir(treeName, 0o755); err != nil {
		return st, err
	}
	if err := root.Chmod(treeName, 0o755); err != nil { // whatever the umask
		return st, err
	}
	tree, err := root.OpenRoot(treeName)
	if err != nil {
		return st, err
	}
	defer tree.Close()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stalled := time.AfterFunc(i.stall, func() { cancel(i.silence(0)) })
	body, err := oci.OpenLayer(ctx, from, l)
	stalled.Stop()
	if err != nil {
		return st, cmpCause(ctx, fromRegistry(err))
	}
	defer body.Close()
	f := &flow{ctx: ctx, left: i.cfg.Container.Download, tooLong: i.tooLong, total: &i.bytes, sum: sha256.New()}
	f.r = &watched{r: body, f: f, i: i, cancel: cancel}
	st, err = i.unpackLayer(f, l, tree)
	if f.err != nil { // whatever it broke says less
		err = f.err
		if !errors.Is(err, oci.ErrDigest) && !errors.Is(err, context.Canceled) {
			err = reached(err)
		}
	}
	return st, err
}

// cmpCause is what ended the context, if something has, else err.
func cmpCause(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

func (i *Images) silence(after int64) error {
	return &unreachableError{fmt.Errorf("no data for %v: the registry has stalled after %s", i.stall, size(after))}
}

// A watched reader notices when nothing comes. Its clock runs only while it reads.
type watched struct {
	r      io.Reader
	f      *flow
	i      *Images
	cancel context.CancelCauseFunc
}

func (w *watched) Read(p []byte) (int, error) {
	stalled := time.AfterFunc(w.i.stall, func() { w.cancel(w.i.silence(w.f.got)) })
	n, err := w.r.Read(p)
	stalled.Stop()
	if err != nil && err != io.EOF {
		err = cmpCause(w.f.ctx, err)
	}
	return n, err
}

func (i *Images) unpackLayer(r io.Reader, l oci.Layer, tree *os.Root) (oci.Stats, error) {
	content, _, err := Decompress(r)
	if err != nil {
		return oci.Stats{}, err
	}
	defer content.Close()
	lim := i.cfg.Container
	st, err := oci.Unpack(oci.Verify(content, l.DiffID, -1), tree, oci.Limits{Bytes: lim.Bytes, Entries: lim.Entries, Path: lim.Path, Depth: lim.Depth})
	if err != nil {
		return st, err
	}
	_, err = io.Copy(io.Discard, r) // whose end is where its digest is compared
	return st, err
}
