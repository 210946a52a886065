package oci

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// A Repository is one name in a registry, for as long as it takes to fetch an image:
// it is logged in.
type Repository struct {
	ref    Reference
	scheme string
	client *http.Client
}

// accepted are the kinds of manifests that a registry may answer with: also those
// that are refused, for the error to say so.
var accepted = strings.Join([]string{
	string(types.OCIManifestSchema1), string(types.OCIImageIndex), string(types.DockerManifestSchema2), string(types.DockerManifestList),
	string(types.DockerManifestSchema1), string(types.DockerManifestSchema1Signed),
}, ", ")

// ask asks for a thing of the repository's.
func (r *Repository) ask(ctx context.Context, method, kind, id string) (*http.Response, error) {
	return r.askFor(ctx, method, kind, id, "")
}

// askFor asks for a part, too; an empty one is the whole.
func (r *Repository) askFor(ctx context.Context, method, kind, id, part string) (*http.Response, error) {
	u := url.URL{Scheme: r.scheme, Host: r.ref.Registry, Path: "/v2/" + r.ref.Repository + "/" + kind + "/" + id}
	req, err := http.NewRequestWithContext(ctx, method, u.String(), nil)
	if err != nil {
		return nil, invalid("no name of %s: %s", kind, quote(id))
	}
	if kind == "manifests" {
		req.Header.Set("Accept", accepted)
	}
	wanted := http.StatusOK
	if part != "" {
		req.Header.Set("Range", "bytes="+part)
		wanted = http.StatusPartialContent
	}
	resp, err := r.client.Do(req)
	if err != nil {
		return nil, explain(err)
	}
	if part != "" && resp.StatusCode == http.StatusOK {
		resp.Body.Close()
		return nil, errNoParts
	}
	if err := transport.CheckError(resp, wanted); err != nil {
		resp.Body.Close()
		return nil, explain(err)
	}
	return resp, nil
}

// Digest is what the reference stands for at this moment. It asks for no content,
// unless the registry does not answer to that as it should.
func (r *Repository) Digest(ctx context.Context) (string, error) {
	if r.ref.Digest != "" {
		return r.ref.Digest, nil
	}
	ctx = withSmallBodies(ctx)
	resp, err := r.ask(ctx, http.MethodHead, "manifests", r.ref.Tag)
	if err == nil {
		resp.Body.Close()
		if digest := resp.Header.Get("Docker-Content-Digest"); digestForm.MatchString(digest) {
			return digest, nil
		}
	}
	if errors.Is(err, ErrUnreachable) {
		return "", err
	}
	content, _, err := r.manifest(ctx, r.ref.Tag)
	if err != nil {
		return "", err
	}
	return digestOf(content), nil
}

// Manifest returns one manifest, or index, which is not verified.
func (r *Repository) Manifest(ctx context.Context, digest string) ([]byte, string, error) {
	return r.manifest(withSmallBodies(ctx), digest)
}

func (r *Repository) manifest(ctx context.Context, id string) ([]byte, string, error) {
	resp, err := r.ask(ctx, http.MethodGet, "manifests", id)
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	content, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, "", fmt.Errorf("manifest: %w", explain(err))
	}
	return content, resp.Header.Get("Content-Type"), nil
}

// Blob opens a blob, which is not verified.
func (r *Repository) Blob(ctx context.Context, digest string) (io.ReadCloser, error) {
	resp, err := r.ask(ctx, http.MethodGet, "blobs", digest)
	if err != nil {
		return nil, err
	}
	return resp.Body, nil
}

// errNoParts is a registry that answers with the whole, or with another part.
var errNoParts = errors.New("the registry does not send the rest")

// BlobFrom opens a layer's blob at an offset, where what it is in can do that.
func BlobFrom(ctx context.Context, from Blobs, l Layer, at int64) (io.ReadCloser, error) {
	r, ok := from.(*Repository)
	if !ok {
		return nil, errNoParts
	}
	part := fmt.Sprintf("%d-%d", at, l.Size-1)
	resp, err := r.askFor(ctx, http.MethodGet, "blobs", l.Digest, part)
	if err != nil {
		return nil, err
	}
	if got, _, _ := strings.Cut(resp.Header.Get("Content-Range"), "/"); got != "bytes "+part {
		resp.Body.Close()
		return nil, errNoParts
	}
	return resp.Body, nil
}
