package rootfs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/gilliam/hypervisor/isolate/failpoint"
	"github.com/gilliam/hypervisor/rootfs/oci"
)

// IsContainer tells whether a reference is to a container image, in a registry.
func IsContainer(ref string) bool { return strings.HasPrefix(ref, oci.Scheme) }

// containerFormat is the format of a container image's record.
const containerFormat = "oci"

// checkContainer tells whether ref could be an image in a registry.
func (i *Images) checkContainer(ref string) error {
	r, err := oci.ParseReference(ref)
	if err != nil {
		return invalid("%v", err)
	}
	return CheckURL("https://"+r.Registry+"/", i.cfg.AllowedNets)
}

// shareContainer gets a container image together with everybody else who wants it
// now.
func (i *Images) shareContainer(ctx context.Context, w Want) (*flight, bool, error) {
	ref, err := oci.ParseReference(w.Ref)
	if err != nil {
		return nil, true, invalid("%v", err)
	}
	key := cmp.Or(w.Digest, ref.String())
	return i.flights.do(ctx, key, w.Ref, func(ctx context.Context) (Image, bool, error) {
		return i.provideContainer(ctx, ref, w.Digest)
	})
}

// Known is the image that was fetched last for the reference, without asking anybody;
// ok is false when there is none.
func (i *Images) Known(ref string) (img Image, ok bool) {
	key := ""
	if IsContainer(ref) {
		r, err := oci.ParseReference(ref)
		if err != nil {
			return Image{}, false
		}
		key = hashOf(r.String())
	} else {
		src, err := i.source(ref)
		if err != nil {
			return Image{}, false
		}
		key = src.key()
	}
	img, _, err := i.known(key)
	return img, err == nil && img.Dir != ""
}

// provideContainer gives the image that the reference, or the digest if there is
// one, stands for; moved tells whether it had to be fetched. A tag is looked up each
// time, a digest never, when it is in the cache.
func (i *Images) provideContainer(ctx context.Context, ref oci.Reference, digest string) (img Image, moved bool, err error) {
	if digest != "" {
		if img, err := i.cached(idOf(digest)); err == nil || !errors.Is(err, ErrNotExist) {
			return img, false, err
		}
		ref = ref.With(digest)
	}
	key := hashOf(ref.String())
	have, had, err := i.known(key)
	if err != nil {
		return Image{}, false, err
	}
	there := have.Dir != ""
	if there && ref.Digest != "" {
		return have, false, nil
	}
	from, top, err := i.lookUp(ctx, ref, there)
	var unreachable *unreachableError
	switch {
	case err == nil && there && top == had.ETag:
		return have, false, nil
	case errors.As(err, &unreachable) && there && ctx.Err() == nil:
		i.stale.Add(1)
		i.cfg.Log.Warn("image taken from the cache without asking its registry", "image", ref.String(), "digest", have.Digest, "err", err)
		return have, false, nil
	case err == nil:
		start := time.Now()
		if img, err = i.pull(ctx, from, ref, top, key); err == nil {
			i.fetched.Add(1)
			i.cfg.Log.Info("image fetched", "image", ref.String(), "digest", img.Digest, "bytes", img.Bytes, "entries", img.Entries,
				"layers", len(img.Container.Layers), "took_seconds", time.Since(start).Seconds())
			return img, true, nil
		}
	}
	i.failed.Add(1)
	return Image{}, true, err
}

// lookUp asks what the reference stands for now. Where there is something to fall
// back to, the registry has only one try, and a short one.
func (i *Images) lookUp(ctx context.Context, ref oci.Reference, short bool) (from *oci.Repository, top string, err error) {
	within, tries := i.stall, i.retry
	if short {
		within, tries.tries = quick, 1
	}
	err = tries.do(ctx, func() error {
		return answered(ctx, within, func(ctx context.Context) (err error) {
			if from, err = i.registries.Repository(ctx, ref); err == nil {
				top, err = from.Digest(ctx)
			}
			return err
		})
	})
	return from, top, err
}

// answered asks a registry something that is answered soon, or not at all.
func answered(ctx context.Context, within time.Duration, ask func(context.Context) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, within, &unreachableError{fmt.Errorf("no answer of the registry within %v", within)})
	defer cancel()
	err := ask(ctx)
	if cause := context.Cause(ctx); err != nil && cause != nil {
		return cause
	}
	return fromRegistry(err)
}

// fromRegistry is an error of package oci as one of this package.
func fromRegistry(err error) error {
	switch {
	case errors.Is(err, oci.ErrInvalid):
		return &kindError{ErrInvalid, err.Error()}
	case errors.Is(err, oci.ErrNotExist):
		return &kindError{ErrNotExist, err.Error()}
	case errors.Is(err, ErrForbidden):
		return plain(err)
	case errors.Is(err, oci.ErrUnreachable) && errors.Unwrap(err) == nil: // it has answered that it cannot
		return &unreachableError{err}
	case errors.Is(err, oci.ErrUnreachable):
		return reached(err)
	}
	return err
}

// pull fetches the layers of an image that the cache lacks, and records the image.
func (i *Images) pull(ctx context.Context, from *oci.Repository, ref oci.Reference, top, key string) (Image, error) {
	var opened oci.Image
	err := i.retry.do(ctx, func() error {
		return answered(ctx, i.stall, func(ctx context.Context) (err error) {
			opened, err = oci.Open(ctx, from, top)
			return err
		})
	})
	if err != nil {
		return Image{}, err
	}
	img, err := i.install(ctx, from, ref, opened)
	if err != nil { // what came of it is nobody's
		return Image{}, errors.Join(err, i.dropLayers())
	}
	return img, i.writeRef(key, refRecord{Ref: ref.String(), Image: idOf(img.Digest), Mark: mark{ETag: top}, Fetched: time.Now().UTC()})
}

// install gets an image's layers and records it.
func (i *Images) install(ctx context.Context, from oci.Blobs, ref oci.Reference, opened oci.Image) (Image, error) {
	defer i.pin(opened.Layers)()
	layers, err := i.pullLayers(ctx, from, ref, opened.Layers)
	if err != nil {
		return Image{}, err
	}
	rec := containerRecord(ref, opened, layers)
	img, err := i.cached(idOf(rec.Digest))
	if errors.Is(err, ErrNotExist) {
		return i.recordContainer(rec)
	}
	return img, err
}

// pullLayers makes sure that all layers are in the cache, and returns their records
// in the same order.
func (i *Images) pullLayers(ctx context.Context, from oci.Blobs, ref oci.Reference, all []oci.Layer) ([]layerRecord, error) {
	var sent int64
	for _, l := range all {
		if sent += l.Size; sent > i.cfg.Container.Download || l.Size > i.cfg.Container.Download {
			return nil, fmt.Errorf("its layers are larger than %s: make it smaller", size(i.cfg.Container.Download))
		}
	}
	records := make([]layerRecord, len(all))
	var bytes, entries atomic.Int64
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(layersAtOnce)
	for n, l := range all {
		group.Go(func() (err error) {
			if records[n], err = i.provideLayer(ctx, from, ref, l); err != nil {
				return fmt.Errorf("layer %d of %d, %s: %w", n+1, len(all), l.Digest, err)
			}
			b, e := bytes.Add(records[n].Bytes), entries.Add(int64(records[n].Entries))
			if lim := i.cfg.Container; b > lim.Bytes || e > int64(lim.Entries) {
				return fmt.Errorf("holds more than %s, or %d files: make it smaller", size(lim.Bytes), lim.Entries)
			}
			return nil
		})
	}
	return records, group.Wait()
}

// layersAtOnce is how many layers of an image are fetched at the same time.
const layersAtOnce = 3

// containerRecord is what is known of an image of these layers. They are recorded as
// overlayfs takes them: the topmost first, none twice, and none that would not be
// seen.
func containerRecord(ref oci.Reference, opened oci.Image, layers []layerRecord) record {
	rec := record{
		Version: imageVersion, Digest: opened.Digest, Ref: ref.String(), Format: containerFormat, Fetched: time.Now().UTC(),
		Config: &opened.Config,
	}
	for n := len(layers) - 1; n >= 0; n-- {
		id := idOf(opened.Layers[n].DiffID)
		if slices.Contains(rec.Layers, id) {
			continue // all that it holds is in the one above
		}
		rec.Layers = append(rec.Layers, id)
		rec.Sent += opened.Layers[n].Size
		rec.Bytes += layers[n].Bytes
		rec.Disk += layers[n].Disk
		rec.Entries += layers[n].Entries
		if layers[n].Opaque {
			break
		}
	}
	return rec
}

// recordContainer makes the image's folder, whose tree stays empty.
func (i *Images) recordContainer(rec record) (_ Image, err error) {
	s, err := newStaging(i.cfg.Dir)
	if err != nil {
		return Image{}, err
	}
	defer func() { err = s.end(err) }()
	if err := s.root.Mkdir(treeName, 0o755); err != nil {
		return Image{}, err
	}
	if err := s.seal(recordName, rec); err != nil {
		return Image{}, err
	}
	failpoint.Hit("rootfs.container.sealed")
	return i.publish(s, rec)
}
