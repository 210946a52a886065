package rootfs

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"github.com/gilliam/hypervisor/rootfs/oci"
	"github.com/gilliam/hypervisor/rootfs/tree"
)

// The files that tell an image: of OCI's layout (image-spec, image-layout.md), and
// of what docker save wrote before version 25.
const (
	layoutFile = "oci-layout"
	indexFile  = "index.json"
	savedFile  = "manifest.json"
)

// image merges the layers of the image in dir into one tree.
func (i *importer) image(ctx context.Context, dir string) (what string, err error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return "", err
	}
	defer root.Close()
	if _, err := root.Lstat(layoutFile); errors.Is(err, fs.ErrNotExist) {
		return "image", i.saved(ctx, root)
	}
	l := layout{root}
	digest, err := l.index(ctx)
	if err != nil {
		return "", err
	}
	img, err := oci.Open(ctx, l, digest)
	if err != nil {
		return "", err
	}
	err = i.write(i.d.Dir, func(w *tree.Writer) error {
		for _, layer := range img.Layers {
			blob, err := oci.OpenLayer(ctx, l, layer)
			if err != nil {
				return err
			}
			err = errors.Join(apply(ctx, w, blob), blob.Close())
			if err != nil {
				return fmt.Errorf("layer %s: %w", layer.Digest, err)
			}
		}
		return nil
	})
	return "image " + img.Digest, err
}

// apply makes what a layer says. It is read to its end, where it is found out
// whether it was what its digest says.
func apply(ctx context.Context, w *tree.Writer, blob io.Reader) error {
	in, _, err := Decompress(blob)
	if err != nil {
		return err
	}
	err = w.Layer(ctx, in)
	if err == nil {
		_, err = io.Copy(io.Discard, in)
	}
	if err == nil {
		_, err = io.Copy(io.Discard, blob)
	}
	return errors.Join(err, in.Close())
}

// A layout is a folder in OCI's layout.
type layout struct{ root *os.Root }

// index is the digest of what the layout is about: its only image, or an index of
// several, from which the one for this machine is chosen.
func (l layout) index(ctx context.Context) (digest string, err error) {
	content, err := readTreeFile(l.root, indexFile)
	if err != nil {
		return "", err
	}
	var index struct {
		Manifests []struct {
			Digest string `json:"digest"`
		} `json:"manifests"`
	}
	if err := json.Unmarshal(content, &index); err != nil {
		return "", invalid("%s: %v", indexFile, err)
	}
	if len(index.Manifests) == 1 {
		return index.Manifests[0].Digest, nil
	}
	return contentDigest(content), nil
}

func contentDigest(content []byte) string {
	sum := sha256.Sum256(content)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// Manifest is a manifest of the layout; see [oci.Blobs].
func (l layout) Manifest(_ context.Context, digest string) (content []byte, mediaType string, err error) {
	if content, err = readTreeFile(l.root, indexFile); err != nil || contentDigest(content) != digest {
		name, err := blobName(digest)
		if err != nil {
			return nil, "", err
		}
		if content, err = readTreeFile(l.root, name); err != nil {
			return nil, "", err
		}
	}
	// Where it does not say what it is, its shape does: both have one member that
	// the other has not.
	var shape struct {
		Manifests json.RawMessage `json:"manifests"`
	}
	mediaType = "application/vnd.oci.image.manifest.v1+json"
	if json.Unmarshal(content, &shape) == nil && shape.Manifests != nil {
		mediaType = "application/vnd.oci.image.index.v1+json"
	}
	return content, mediaType, nil
}

// Blob opens a blob of the layout; see [oci.Blobs].
func (l layout) Blob(_ context.Context, digest string) (io.ReadCloser, error) {
	name, err := blobName(digest)
	if err != nil {
		return nil, err
	}
	return openTreeFile(l.root, name)
}

// blobName is where the layout has a blob.
func blobName(digest string) (string, error) {
	how, sum, ok := strings.Cut(digest, ":")
	if !ok || how != "sha256" || !hexSum.MatchString(sum) {
		return "", invalid("digest %s: must be sha256: and 64 characters of 0-9 and a-f", quote(digest))
	}
	return path.Join("blobs", how, sum), nil
}

// saved merges the layers of what an old docker save has written.
func (i *importer) saved(ctx context.Context, root *os.Root) error {
	content, err := readTreeFile(root, savedFile)
	if err != nil {
		return err
	}
	var images []struct{ Layers []string }
	if err := json.Unmarshal(content, &images); err != nil {
		return invalid("%s: %v", savedFile, err)
	}
	if len(images) != 1 || len(images[0].Layers) == 0 {
		return invalid("%s is about %d images: save one, with layers", savedFile, len(images))
	}
	return i.write(i.d.Dir, func(w *tree.Writer) error {
		for _, name := range images[0].Layers {
			f, err := openTreeFile(root, name)
			if err != nil {
				return err
			}
			if err := errors.Join(apply(ctx, w, f), f.Close()); err != nil {
				return fmt.Errorf("layer %s: %w", quote(name), err)
			}
		}
		return nil
	})
}
