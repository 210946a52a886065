package rootfs

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"os"

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
	body := &layerBody{i: i, ctx: ctx, from: from, layer: l}
	if err := body.open(); err != nil {
		return st, err
	}
	defer func() { _ = body.Close() }() // what it has to say is said by Read
	f := &flow{ctx: ctx, r: oci.Verify(body, l.Digest, l.Size), left: i.cfg.Container.Download, tooLong: i.tooLong, total: &i.bytes, sum: sha256.New()}
	st, err = i.unpackLayer(f, l, tree)
	if f.err != nil { // whatever it broke says less
		err = f.err
		if !errors.Is(err, oci.ErrDigest) && !errors.Is(err, context.Canceled) {
			err = reached(err)
		}
	}
	return st, err
}

func (i *Images) unpackLayer(r io.Reader, l oci.Layer, tree *os.Root) (oci.Stats, error) {
	sent := &meter{r: r}
	content, _, err := Decompress(sent)
	if err != nil {
		return oci.Stats{}, err
	}
	defer content.Close()
	lim := i.cfg.Container
	st, err := oci.Unpack(oci.Verify(content, l.DiffID, -1), tree, oci.Limits{
		Bytes: lim.Bytes, Entries: lim.Entries, Path: lim.Path, Depth: lim.Depth,
		May: func(unpacked int64) error { return lim.ratio(sent.n.Load(), unpacked) },
	})
	if err != nil {
		return st, err
	}
	_, err = io.Copy(io.Discard, sent) // whose end is where its digest is compared
	return st, err
}
