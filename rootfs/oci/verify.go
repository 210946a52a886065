package oci

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
)

// OpenLayer opens a layer's blob. Its end is an error when the blob was not what
// the manifest says.
func OpenLayer(ctx context.Context, from Blobs, l Layer) (io.ReadCloser, error) {
	body, err := from.Blob(ctx, l.Digest)
	if err != nil {
		return nil, err
	}
	return struct {
		io.Reader
		io.Closer
	}{Verify(body, l.Digest, l.Size), body}, nil
}

// Verify reads r to its end, which is an error unless all of it has that digest
// and, when size is not negative, that size.
func Verify(r io.Reader, digest string, size int64) io.Reader {
	return &verifier{r: r, sum: sha256.New(), digest: digest, size: size}
}

type verifier struct {
	r      io.Reader
	sum    hash.Hash
	digest string
	size   int64
	n      int64
}

func (v *verifier) Read(p []byte) (int, error) {
	n, err := v.r.Read(p)
	v.n += int64(n)
	v.sum.Write(p[:n])
	if v.size >= 0 && v.n > v.size {
		return 0, &kindError{ErrDigest, fmt.Sprintf("is larger than the %d bytes that it should have", v.size)}
	}
	if !errors.Is(err, io.EOF) {
		return n, err
	}
	if v.size >= 0 && v.n < v.size {
		return n, &kindError{ErrDigest, fmt.Sprintf("ends after %d of %d bytes", v.n, v.size)}
	}
	if got := "sha256:" + hex.EncodeToString(v.sum.Sum(nil)); got != v.digest {
		return n, mismatch(v.digest, got)
	}
	return n, err
}
