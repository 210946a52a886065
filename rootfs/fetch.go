package rootfs

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"time"
)

// A Want asks for an image.
type Want struct {
	Ref    string // a URL, or a path below an allowed folder
	Digest string // what it must be, as [Image.Digest]; empty: whatever Ref gives
	Holder string // who uses it until [Images.Release]; empty: no one
}

var digestForm = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)

// CheckDigest tells whether d has the form of an [Image.Digest]. The error is an
// [ErrInvalid].
func CheckDigest(d string) error {
	if !digestForm.MatchString(d) {
		return invalid(`must be "sha256:" and 64 hexadecimal digits in lower case, as of "sha256sum FILE"`)
	}
	return nil
}

// Fetch returns the image that is wanted, from the cache or by a transfer, one
// for all who ask at the same time. One with a digest that is in the cache is
// there, whatever is at Ref. Otherwise the source is asked each time, but only
// whether the content is still what was fetched before (ETag, Last-Modified); a
// server that gives neither sends it again. When a server cannot be reached, or
// says that it has a problem, what was fetched before is used. When ctx ends, the
// transfer goes on only if another caller waits for it. The error reads as the
// reason why a proc failed.
func (i *Images) Fetch(ctx context.Context, w Want) (Image, error) {
	img, err := i.fetch(ctx, w)
	if err != nil {
		return Image{}, fmt.Errorf("image %s: %w", Redact(w.Ref), err)
	}
	img.Ref = Redact(w.Ref)
	return img, nil
}

func (i *Images) fetch(ctx context.Context, w Want) (Image, error) {
	if w.Digest != "" {
		if err := CheckDigest(w.Digest); err != nil {
			return Image{}, err
		}
	}
	if err := i.Check(w.Ref); err != nil {
		return Image{}, err
	}
	for {
		if err := context.Cause(ctx); err != nil {
			return Image{}, err
		}
		f, lead, err := i.share(ctx, w)
		switch {
		case err != nil && !lead && f.by != w.Ref:
			continue // it may have been the other's source that failed
		case err != nil:
			return Image{}, err
		case f.img.FileSystem != nil && i.mayMount(f.img.FileSystem.Type) != nil: // any more
			return Image{}, i.mayMount(f.img.FileSystem.Type)
		case !i.hold(f.img, w.Holder):
			continue // evicted at this very moment
		}
		if !lead || !f.moved {
			i.hits.Add(1)
		} else {
			i.evict()
		}
		return f.img, nil
	}
}

// share gets the image together with everybody else who wants it now.
func (i *Images) share(ctx context.Context, w Want) (*flight, bool, error) {
	if IsContainer(w.Ref) {
		return i.shareContainer(ctx, w)
	}
	if w.Digest != "" {
		return i.flights.do(ctx, w.Digest, w.Ref, func(ctx context.Context) (Image, bool, error) {
			if img, err := i.cached(idOf(w.Digest)); err == nil || !errors.Is(err, ErrNotExist) {
				return img, false, err
			}
			src, err := i.source(w.Ref)
			if err != nil {
				return Image{}, true, err
			}
			return i.provide(ctx, src, w.Digest)
		})
	}
	src, err := i.source(w.Ref)
	if err != nil {
		return nil, true, err
	}
	return i.flights.do(ctx, src.key(), w.Ref, func(ctx context.Context) (Image, bool, error) {
		return i.provide(ctx, src, "")
	})
}

// provide asks the source, and gives what it sends, or what is in the cache of it;
// moved tells which. A digest that is not empty is what must come.
func (i *Images) provide(ctx context.Context, src source, digest string) (img Image, moved bool, err error) {
	start := time.Now()
	var had mark
	have := Image{}
	if digest == "" {
		if have, had, err = i.known(src.key()); err != nil {
			return Image{}, false, err
		}
	}
	img, err = i.transfer(ctx, src, had, digest)
	var unreachable *unreachableError
	switch {
	case err == nil:
		i.fetched.Add(1)
		i.cfg.Log.Info("image fetched", "image", src.String(), "digest", img.Digest, "bytes", img.Bytes, "entries", img.Entries,
			"took_seconds", time.Since(start).Seconds())
		return img, true, nil
	case errors.Is(err, errUnchanged):
		return have, false, nil
	case errors.As(err, &unreachable) && have.Dir != "" && ctx.Err() == nil:
		i.stale.Add(1)
		i.cfg.Log.Warn("image taken from the cache without asking its server", "image", src.String(), "digest", have.Digest, "err", err)
		return have, false, nil
	}
	i.failed.Add(1)
	return Image{}, true, err
}
