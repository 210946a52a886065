package oci

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"runtime"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// maxLayers is how many layers an image may have: Docker's own limit is 127.
const maxLayers = 128

// Blobs is where images are: a repository of a registry, or a folder in OCI's
// layout.
type Blobs interface {
	// Manifest returns the manifest, or index of manifests, with that digest, and
	// what it is said to be. It need not have been verified.
	Manifest(ctx context.Context, digest string) (content []byte, mediaType string, err error)

	// Blob opens a blob. It need not be verified.
	Blob(ctx context.Context, digest string) (io.ReadCloser, error)
}

// An Image is what a manifest and its configuration say.
type Image struct {
	Digest string  // of the manifest
	Config Config  // what the image wants for its program
	Layers []Layer // the lowest first
}

// A Layer is a changeset: a tar, compressed or not.
type Layer struct {
	Digest string `json:"digest"`  // of the blob
	DiffID string `json:"diff_id"` // of the tar, by which layers are known
	Size   int64  `json:"size"`    // of the blob
}

// Open reads the image with that digest, or the one for this machine of the index
// with that digest. Both are verified, and so is the configuration. Errors about
// the image are an [ErrInvalid].
func Open(ctx context.Context, from Blobs, digest string) (Image, error) {
	want := digest
	for depth := 0; ; depth++ {
		content, mediaType, err := from.Manifest(ctx, want)
		if err != nil {
			return Image{}, err
		}
		if err := check(content, want); err != nil {
			return Image{}, fmt.Errorf("manifest: %w", err)
		}
		m, index, err := parseManifest(content, mediaType)
		if err != nil {
			return Image{}, err
		}
		if m != nil {
			return assemble(ctx, from, m, want)
		}
		if depth == 3 {
			return Image{}, invalid("an index in an index in an index: the image cannot be found")
		}
		if want, err = choose(index); err != nil {
			return Image{}, err
		}
	}
}

// parseManifest tells a manifest from an index, by what it says itself, and else by
// what it is said to be. One that can be read as both is refused: others would read
// it as the other (CVE-2021-41190).
func parseManifest(content []byte, mediaType string) (*v1.Manifest, *v1.IndexManifest, error) {
	var shape struct {
		SchemaVersion int             `json:"schemaVersion"`
		MediaType     types.MediaType `json:"mediaType"`
		Manifests     json.RawMessage `json:"manifests"`
		Layers        json.RawMessage `json:"layers"`
		Config        json.RawMessage `json:"config"`
	}
	if err := json.Unmarshal(content, &shape); err != nil {
		return nil, nil, invalid("the manifest is not JSON: %v", err)
	}
	kind := shape.MediaType
	if kind == "" {
		kind = types.MediaType(mediaType)
	}
	switch {
	case shape.SchemaVersion == 1 || kind == types.DockerManifestSchema1 || kind == types.DockerManifestSchema1Signed:
		return nil, nil, invalid("a manifest of Docker's schema 1, which has been given up: push the image again with a newer tool")
	case shape.Manifests != nil && (shape.Layers != nil || shape.Config != nil):
		return nil, nil, invalid("both a manifest and an index of manifests")
	case shape.Manifests != nil && kind.IsIndex():
		index, err := v1.ParseIndexManifest(bytes.NewReader(content))
		if err != nil {
			return nil, nil, invalid("the index cannot be read: %v", err)
		}
		return nil, index, nil
	case shape.Manifests == nil && kind.IsImage():
		m, err := v1.ParseManifest(bytes.NewReader(content))
		if err != nil {
			return nil, nil, invalid("the manifest cannot be read: %v", err)
		}
		return m, nil, nil
	}
	return nil, nil, invalid("no image: its manifest is of type %s", quote(string(kind)))
}

// choose picks the manifest for this machine.
func choose(index *v1.IndexManifest) (string, error) {
	var there []string
	for _, d := range index.Manifests {
		if d.Platform == nil {
			if len(index.Manifests) == 1 { // one says nothing of its platform, the configuration will
				return d.Digest.String(), nil
			}
			continue
		}
		if d.Platform.OS == "linux" && d.Platform.Architecture == runtime.GOARCH {
			return d.Digest.String(), nil
		}
		if name := d.Platform.OS + "/" + d.Platform.Architecture; d.Platform.OS != "unknown" && len(there) < 20 && !slices.Contains(there, name) {
			there = append(there, name)
		}
	}
	return "", invalid("there is no image for linux/%s, only for %s", runtime.GOARCH, quote(strings.Join(there, ", ")))
}

// assemble puts the image together from its manifest.
func assemble(ctx context.Context, from Blobs, m *v1.Manifest, digest string) (Image, error) {
	switch m.Config.MediaType {
	case types.OCIConfigJSON, types.DockerConfigJSON:
	default:
		return Image{}, invalid("no image of a file system: its configuration is of type %s", quote(string(m.Config.MediaType)))
	}
	raw, err := readSmall(ctx, from, m.Config)
	if err != nil {
		return Image{}, fmt.Errorf("configuration: %w", err)
	}
	cf, err := v1.ParseConfigFile(bytes.NewReader(raw))
	if err != nil {
		return Image{}, invalid("the configuration cannot be read: %v", err)
	}
	switch {
	case cf.OS != "linux" || cf.Architecture != runtime.GOARCH:
		return Image{}, invalid("it is for %s, and this machine is linux/%s", quote(cf.OS+"/"+cf.Architecture), runtime.GOARCH)
	case len(m.Layers) == 0:
		return Image{}, invalid("it has no layers")
	case len(m.Layers) > maxLayers:
		return Image{}, invalid("it has %d layers: at most %d are possible", len(m.Layers), maxLayers)
	case len(m.Layers) != len(cf.RootFS.DiffIDs):
		return Image{}, invalid("it has %d layers, and its configuration speaks of %d", len(m.Layers), len(cf.RootFS.DiffIDs))
	}
	image := Image{Digest: digest}
	for n, d := range m.Layers {
		if err := checkLayer(d); err != nil {
			return Image{}, err
		}
		diffID := cf.RootFS.DiffIDs[n]
		if diffID.Algorithm != "sha256" {
			return Image{}, invalid("layer %d is known by a digest that is no sha256", n+1)
		}
		image.Layers = append(image.Layers, Layer{Digest: d.Digest.String(), DiffID: diffID.String(), Size: d.Size})
	}
	image.Config, err = configOf(cf.Config)
	return image, err
}

// checkLayer refuses layers that are not there, or not a tar.
func checkLayer(d v1.Descriptor) error {
	switch {
	case !d.MediaType.IsDistributable():
		return invalid("layer %s is foreign: the registry does not have it, and nobody else is asked", d.Digest)
	case !d.MediaType.IsLayer():
		return invalid("layer %s is of type %s, which is no layer of a file system", d.Digest, quote(string(d.MediaType)))
	case d.Digest.Algorithm != "sha256":
		return invalid("layer %s has a digest that is no sha256", quote(d.Digest.String()))
	case d.Size <= 0:
		return invalid("layer %s has a size of %d", d.Digest, d.Size)
	}
	return nil
}

// readSmall reads a blob that is no layer, and verifies it.
func readSmall(ctx context.Context, from Blobs, d v1.Descriptor) ([]byte, error) {
	if d.Size < 0 || d.Size > maxSmall {
		return nil, invalid("of %d bytes: at most %d are possible", d.Size, maxSmall)
	}
	body, err := from.Blob(withSmallBodies(ctx), d.Digest.String())
	if err != nil {
		return nil, err
	}
	defer body.Close()
	content, err := io.ReadAll(io.LimitReader(body, d.Size+1))
	if err != nil {
		return nil, err
	}
	if int64(len(content)) != d.Size {
		return nil, &kindError{ErrDigest, fmt.Sprintf("is not what it should be: it does not have %d bytes", d.Size)}
	}
	return content, check(content, d.Digest.String())
}

// check verifies a digest.
func check(content []byte, digest string) error {
	if got := digestOf(content); got != digest {
		return mismatch(digest, got)
	}
	return nil
}

// digestForm is the only form of a digest that is taken.
var digestForm = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)

func digestOf(content []byte) string {
	sum := sha256.Sum256(content)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// ErrDigest is content that is not what its digest says.
var ErrDigest = errors.New("wrong digest")

func mismatch(want, got string) error {
	return &kindError{ErrDigest, fmt.Sprintf("is not what it should be: wanted %s, got %s", want, got)}
}

// invalid is an [ErrInvalid] with this text.
func invalid(format string, args ...any) error {
	return &kindError{ErrInvalid, fmt.Sprintf(format, args...)}
}
