package archive

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"path"
	"strings"

	"github.com/gilliam/hypervisor/rootfs"
)

// maxRelease and maxIndex bound what is read into memory.
const (
	maxRelease = 16 << 20
	maxIndex   = 1 << 30
)

// Release fetches what a mirror says of a suite and verifies it.
func (c *Client) Release(ctx context.Context, mirror, suite string, ring Keyring, fresh Freshness) (*Release, error) {
	base := strings.TrimSuffix(mirror, "/") + "/dists/" + suite
	b, err := c.read(ctx, base+"/InRelease", maxRelease)
	if err != nil {
		return nil, err
	}
	rel, err := parseRelease(b, ring, fresh)
	if err != nil {
		return nil, fmt.Errorf("%s/InRelease: %w", Redact(base), err)
	}
	if !rel.is(suite) {
		return nil, fmt.Errorf("%s/InRelease: %w: it is of %s (%s), not of %s", Redact(base), ErrUntrusted, rel.Codename, rel.Suite, suite)
	}
	rel.base = base
	return rel, nil
}

// An Index is a Packages file of a release.
type Index struct {
	Component string
	files     []File // the same in several forms, what is read fastest first
	plain     File
}

// Indexes are those of the components for an architecture. Archives that list
// packages for all architectures apart have one for these, too.
func (r *Release) Indexes(arch string, components []string) ([]Index, error) {
	if len(components) == 0 {
		components = r.Components
	}
	var list []Index
	for _, component := range components {
		found := false
		for _, a := range []string{arch, "all"} {
			index, ok := r.index(component, a)
			if ok {
				found = true
				list = append(list, index)
			}
		}
		if !found {
			return nil, fmt.Errorf("%s has no packages of component %s for %s: it has %s for %s", Redact(r.base), component, arch,
				strings.Join(r.Components, ", "), strings.Join(r.Architectures, ", "))
		}
	}
	return list, nil
}

func (r *Release) index(component, arch string) (Index, bool) {
	name := component + "/binary-" + arch + "/Packages"
	plain, ok := r.files[name]
	if !ok || arch == "all" && !r.apart {
		return Index{}, false
	}
	index := Index{Component: component, plain: plain}
	for _, ext := range []string{".gz", ".xz"} { // gzip is larger, and five times as fast
		f, ok := r.files[name+ext]
		if !ok {
			continue
		}
		f.URL = r.base + "/" + name + ext
		if r.ByHash {
			f.URL = r.base + "/" + path.Dir(name) + "/by-hash/SHA256/" + f.SHA256
		}
		index.files = append(index.files, f)
	}
	if len(index.files) == 0 {
		plain.URL = r.base + "/" + name
		index.files = []File{plain}
	}
	return index, true
}

// Index fetches an index, or takes it out of the cache, and returns its text.
func (c *Client) Index(ctx context.Context, index Index, p Progress) (string, error) {
	var err error
	for _, f := range index.files {
		var text string
		if text, err = c.index(ctx, f, index.plain, p); err == nil {
			return text, nil
		}
		if !isStatus(err, http.StatusNotFound) {
			break
		}
	}
	return "", err
}

func (c *Client) index(ctx context.Context, f, plain File, p Progress) (string, error) {
	file, err := c.Fetch(ctx, f, p)
	if err != nil {
		return "", err
	}
	defer file.Close()
	if plain.Size > maxIndex {
		return "", fmt.Errorf("%s: of %d bytes, more than %d", Redact(f.URL), plain.Size, maxIndex)
	}
	r, _, err := rootfs.Decompress(file)
	if err != nil {
		return "", fmt.Errorf("%s: %w", Redact(f.URL), err)
	}
	defer r.Close()
	hash := sha256.New()
	var b strings.Builder
	b.Grow(int(plain.Size))
	if _, err := io.Copy(&b, io.TeeReader(io.LimitReader(r, plain.Size+1), hash)); err != nil {
		return "", fmt.Errorf("%s: %w", Redact(f.URL), err)
	}
	if got := hex.EncodeToString(hash.Sum(nil)); got != plain.SHA256 {
		return "", fmt.Errorf("%s: what is in it has hash %s, not %s", Redact(f.URL), got, plain.SHA256)
	}
	return b.String(), nil
}
