package server

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/gilliam/hypervisor/rootfs/manifest"
	"github.com/gilliam/hypervisor/server/proc"
)

var images = []proc.Image{
	{ID: strings.Repeat("a", 64), Digest: "sha256:" + strings.Repeat("a", 64), Refs: []string{"https://example.com/a"}, Disk: 100, UsedBy: []string{"p"}},
	{ID: strings.Repeat("b", 64), Refs: []string{}, Disk: 10, UsedBy: []string{}},
}

func (f *fakeProcs) Images() ([]proc.Image, error) { return images, f.err }

func (f *fakeProcs) Image(digest string) (proc.Image, error) {
	for _, img := range images {
		if strings.HasPrefix(img.ID, digest) {
			return img, f.err
		}
	}
	return proc.Image{}, proc.ErrNoImage
}

func (f *fakeProcs) RemoveImage(digest string) error {
	img, err := f.Image(digest)
	if err == nil && len(img.UsedBy) > 0 {
		err = fmt.Errorf("%w (p)", proc.ErrImageInUse)
	}
	return err
}

func (f *fakeProcs) CollectImages(keep int64) (proc.ImagesRemoved, error) {
	if keep > 0 {
		return proc.ImagesRemoved{Images: []proc.Image{}}, f.err
	}
	return proc.ImagesRemoved{Images: images[1:], Damaged: 2}, f.err
}

func (f *fakeProcs) VerifyImage(_ context.Context, digest string) (proc.ImageVerdict, error) {
	img, err := f.Image(digest)
	v := proc.ImageVerdict{Image: img, Differences: []manifest.Change{}}
	if len(img.UsedBy) == 0 {
		v.Differences = []manifest.Change{{Path: "run", What: "missing"}}
	}
	return v, err
}

func TestImages(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct {
		method, path string
		status       int
		want         string
	}{
		{"GET", "/v1/images", 200, `"disk":110}`},
		{"GET", "/v1/images?all=1", 400, `"field":"all"`},
		{"GET", "/v1/images/aaaaaa", 200, `"in_use":["p"]`},
		{"GET", "/v1/images/cccccc", 404, "no-image"},
		{"DELETE", "/v1/images/aaaaaa", 409, "image-in-use"},
		{"DELETE", "/v1/images/bbbbbb", 204, ""},
		{"DELETE", "/v1/images/cccccc", 404, "no-image"},
		{"POST", "/v1/images/gc", 200, `"damaged":2`},
		{"POST", "/v1/images/gc?keep=10", 200, `{"images":[],"damaged":0}`},
		{"POST", "/v1/images/gc?keep=-1", 400, `"field":"keep"`},
		{"POST", "/v1/images/gc?keep=1G", 400, "number of bytes"},
		{"POST", "/v1/images/aaaaaa/verify", 200, `"differences":[]`},
		{"POST", "/v1/images/bbbbbb/verify", 200, `"differences":[{"path":"run","what":"missing"}]`},
		{"POST", "/v1/images/cccccc/verify", 404, "no-image"},
	} {
		if got := call(t, w.unix.URL, c.method, c.path, ""); got.StatusCode != c.status || !strings.Contains(got.body, c.want) {
			t.Errorf("%s %s: got %d %s", c.method, c.path, got.StatusCode, got.body)
		}
	}
}
