package proc

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/gilliam/hypervisor/rootfs"
	"github.com/gilliam/hypervisor/rootfs/manifest"
)

// Errors of images that a caller may branch on, with errors.Is.
var (
	// ErrNoImage is an image that is not in the cache.
	ErrNoImage = errors.New("no such image in the cache")
	// ErrImageInUse is an image that a proc runs from, or will when it is restarted.
	ErrImageInUse = errors.New("the image is in use: stop its procs first")
)

// An Image is one in the cache.
type Image = rootfs.StoredImage

// An ImageVerdict is how an image compares with what was unpacked.
type ImageVerdict struct {
	Image       Image             `json:"image"`
	Differences []manifest.Change `json:"differences"` // none: it is what was unpacked

	// FetchedAgain is that one with differences, which was set aside, is there again
	// as it was; NotFetched says why it is not.
	FetchedAgain bool   `json:"fetched_again,omitempty"`
	NotFetched   string `json:"not_fetched,omitempty"`
}

// ImagesRemoved is what was removed from the cache.
type ImagesRemoved struct {
	Images  []Image `json:"images"`
	Damaged int     `json:"damaged"` // those that had been set aside
}

// Images lists the cache, the last used first.
func (m *Manager) Images() ([]Image, error) { return m.cfg.Images.List() }

// Image finds an image by its digest, or the beginning of it.
func (m *Manager) Image(digest string) (Image, error) {
	img, err := m.cfg.Images.Find(digest)
	return img, imageError(err)
}

// RemoveImage removes an image that no proc uses.
func (m *Manager) RemoveImage(digest string) error {
	img, err := m.Image(digest)
	if err != nil {
		return err
	}
	return imageError(m.cfg.Images.Remove(img.ID))
}

// CollectImages removes images that no proc uses, the least recently used first,
// until the others take at most keep bytes, and what was set aside.
func (m *Manager) CollectImages(keep int64) (gone ImagesRemoved, err error) {
	if gone.Images, err = m.cfg.Images.GC(keep); err != nil {
		return gone, err
	}
	gone.Damaged, err = m.cfg.Images.ClearAside()
	return gone, err
}

// VerifyImage reads all of an image. When it is not what was unpacked, it takes it
// out of use and fetches it again.
func (m *Manager) VerifyImage(ctx context.Context, digest string) (v ImageVerdict, err error) {
	if v.Image, err = m.Image(digest); err != nil {
		return v, err
	}
	v.Differences, err = m.cfg.Images.Verify(ctx, v.Image.ID, nil)
	if err != nil {
		return v, imageError(err)
	}
	if len(v.Differences) == 0 {
		v.Differences = []manifest.Change{}
		return v, nil
	}
	whole := digestPrefix + v.Image.ID // it has no other when its record cannot be read
	if err := m.cfg.Images.Heal(ctx, whole, m.ImageRefs(whole)); err != nil {
		m.log.Warn("image not fetched again", "id", v.Image.ID, "err", err)
		v.NotFetched = err.Error()
	}
	v.FetchedAgain = v.NotFetched == ""
	return v, nil
}

const digestPrefix = "sha256:"

// ImageRefs are the references by which the procs that have not ended have the image
// of that digest. They may hold secrets.
func (m *Manager) ImageRefs(digest string) []string {
	m.mu.Lock()
	all := slices.Collect(maps.Values(m.procs))
	m.mu.Unlock()
	var refs []string
	for _, i := range all {
		p := i.recorded().Proc
		if !p.State.Ended() && digest == cmp.Or(i.imageDigest(), p.ImageDigest) {
			refs = append(refs, p.Image)
		}
	}
	slices.Sort(refs)
	return slices.Compact(refs)
}

// imageError is an error of the images as one of ours.
func imageError(err error) error {
	switch {
	case errors.Is(err, rootfs.ErrInvalid):
		return &FieldError{"image", err.Error()}
	case errors.Is(err, rootfs.ErrNotExist):
		return ErrNoImage
	case errors.Is(err, rootfs.ErrInUse):
		return fmt.Errorf("%w (%w)", ErrImageInUse, err)
	}
	return err
}
