package rootfs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"time"

	"github.com/gilliam/hypervisor/isolate/failpoint"
	"github.com/gilliam/hypervisor/rootfs/manifest"
)

// maxAttempts is how often a transfer is begun that breaks where it cannot go on.
const maxAttempts = 3

// transfer receives and unpacks an image beside the others, and renames it into
// place. When the source still has what had marks, it says errUnchanged. When it
// fails it leaves nothing.
func (i *Images) transfer(ctx context.Context, src source, had mark, digest string) (img Image, err error) {
	ctx, stop := context.WithTimeoutCause(ctx, i.cfg.Timeout,
		fmt.Errorf("not there after %v: the server is slow, or the image too large", i.cfg.Timeout))
	defer stop()
	for attempt := 1; ; attempt++ {
		img, err = i.attempt(ctx, src, had, digest)
		if !errors.Is(err, errBroken) || attempt == maxAttempts {
			break
		}
		i.cfg.Log.Info("transfer of an image begins again", "image", src.String(), "err", err)
		if sleep(ctx, i.retry.pause(attempt, rand.Float64())) != nil {
			break
		}
	}
	// What ended the context says more than what broke by it.
	if cause := context.Cause(ctx); err != nil && cause != nil {
		err = cause
		if ctx.Err() == context.DeadlineExceeded {
			err = &unreachableError{cause}
		}
	}
	return img, err
}

// attempt is one transfer from the beginning.
func (i *Images) attempt(ctx context.Context, src source, had mark, digest string) (img Image, err error) {
	ctx, abort := context.WithCancelCause(ctx)
	defer abort(nil)
	b, err := src.open(ctx, had)
	if err != nil {
		return Image{}, err
	}
	defer b.Close()
	if b.size > i.cfg.Limits.Download {
		return Image{}, i.tooLong()
	}
	s, err := newStaging(i.cfg.Dir)
	if err != nil {
		return Image{}, err
	}
	defer func() { err = s.end(err) }()
	failpoint.Hit("rootfs.image.begun")
	rec, list, err := i.receive(ctx, abort, b, s.root)
	if err != nil {
		return Image{}, err
	}
	if digest != "" && rec.Digest != digest {
		return Image{}, fmt.Errorf("its digest is %s, and was to be %s: what is at the URL has changed, or the digest is another archive's", rec.Digest, digest)
	}
	failpoint.Hit("rootfs.image.received")
	ref := refRecord{Ref: src.String(), Image: idOf(rec.Digest), Mark: b.mark, Fetched: time.Now().UTC()}
	if img, err = i.cached(ref.Image); err == nil { // it is known from elsewhere
		return img, errors.Join(s.discard(), i.writeRef(src.key(), ref))
	} else if !errors.Is(err, ErrNotExist) {
		return Image{}, err
	}
	rec.Version, rec.Ref, rec.Fetched = imageVersion, ref.Ref, ref.Fetched
	if rec.Tree, err = writeList(s.root, list); err != nil {
		return Image{}, err
	}
	if err := s.seal(recordName, rec); err != nil {
		return Image{}, err
	}
	failpoint.Hit("rootfs.image.sealed")
	if img, err = i.publish(s, rec); err != nil {
		return Image{}, err
	}
	return img, i.writeRef(src.key(), ref)
}

// writeList writes what was unpacked, and returns the hash of it.
func writeList(root *os.Root, list manifest.Manifest) (hash string, err error) {
	f, err := root.OpenFile(manifestName, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", err
	}
	_, err = list.WriteTo(f)
	return list.Hash(), errors.Join(err, f.Close())
}

// publish makes a sealed transfer visible. If the same image has meanwhile come by
// another way, that one stays.
func (i *Images) publish(s *staging, rec record) (Image, error) {
	id := idOf(rec.Digest)
	err := s.publish(id)
	if errors.Is(err, fs.ErrExist) {
		if err := s.discard(); err != nil {
			return Image{}, err
		}
		return i.cached(id)
	}
	if err != nil {
		return Image{}, err
	}
	failpoint.Hit("rootfs.image.published")
	if err := s.in.Sync(); err != nil {
		return Image{}, err
	}
	return i.image(id, rec), nil
}
