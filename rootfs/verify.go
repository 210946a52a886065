package rootfs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/gilliam/hypervisor/isolate/failpoint"
	"github.com/gilliam/hypervisor/rootfs/manifest"
)

// Verify reads every byte of an image and lists what is not as it was unpacked. One
// of which anything is different is set aside: procs that run from it go on, and it
// is fetched again by [Images.Heal], or when it is next asked for. Read is told of the
// bytes, by several goroutines at once; nil means no one. Of a container image these
// are its layers, of which those that differ are set aside too. One without a list of
// what was in it, which an older hypervisor has kept, is an [ErrInvalid].
func (i *Images) Verify(ctx context.Context, id string, read func(bytes int)) ([]manifest.Change, error) {
	if !idForm.MatchString(id) {
		return nil, invalid("must be the id of an image")
	}
	dir := filepath.Join(i.cfg.Dir, id)
	for {
		was, err := os.Lstat(dir)
		if err != nil {
			return nil, &kindError{ErrNotExist, fmt.Sprintf("image %.12s: is not in the cache", id)}
		}
		changes, err := i.compare(ctx, id, read)
		switch {
		case err == nil && len(changes) == 0:
			return nil, nil
		case ctx.Err() == nil && !isStill(dir, was):
			continue // removed, or fetched again for somebody else who found the same
		case err != nil:
			return nil, fmt.Errorf("verify image %.12s: %w", id, err)
		}
		aside, err := i.takeOut(id, was, errors.New(changes[0].String()))
		if aside || err != nil {
			failpoint.Hit("rootfs.image.quarantined")
			return changes, err
		}
	}
}

// isStill tells whether the folder at path is the one that it was.
func isStill(path string, was fs.FileInfo) bool {
	now, err := os.Lstat(path)
	return err == nil && os.SameFile(was, now)
}

// takeOut sets an image aside, unless another one is in its place now.
func (i *Images) takeOut(id string, was fs.FileInfo, why error) (aside bool, err error) {
	i.holds.mu.Lock()
	defer i.holds.mu.Unlock()
	if !isStill(filepath.Join(i.cfg.Dir, id), was) {
		return false, nil
	}
	i.quarantined.Add(1)
	return true, i.setAside(id, why)
}

// compare lists what has become of an image.
func (i *Images) compare(ctx context.Context, id string, read func(bytes int)) ([]manifest.Change, error) {
	rec, err := i.readRecord(id)
	var damaged *damagedError
	switch {
	case errors.As(err, &damaged):
		return []manifest.Change{{Path: recordName, What: err.Error()}}, nil
	case err != nil:
		return nil, err
	case rec.Format == containerFormat:
		return i.verifyLayers(ctx, rec.Layers, read)
	case rec.Tree == "":
		return nil, invalid("an older hypervisor has kept it, without a list of what was in it: remove it, and it is fetched again")
	}
	dir := filepath.Join(i.cfg.Dir, id)
	was, err := readManifest(filepath.Join(dir, manifestName))
	if err != nil || was.Hash() != rec.Tree {
		return []manifest.Change{{Path: manifestName, What: "is not the list that was made when it was unpacked"}}, nil
	}
	is, err := manifest.Scan(ctx, filepath.Join(dir, treeName), read)
	if err != nil {
		return nil, err
	}
	changes := was.Diff(is)
	if len(changes) == 0 && isFileSystem(rec.Format) {
		return i.compareFileSystem(ctx, id, rec, read)
	}
	return changes, nil
}

// Scrub verifies all images, one after the other, the first time after a part of
// every and then once in every, and reads no more than rate bytes a second for it.
// What differs it fetches again at once, and what could not be fetched again before
// it tries again; from gives the references to an image that its users know. It
// returns when ctx ends.
func (i *Images) Scrub(ctx context.Context, rate int64, every time.Duration, from func(digest string) []string) {
	for wait := every / 24; sleep(ctx, wait) == nil; wait = every {
		list, err := i.List()
		if err != nil {
			i.cfg.Log.Error("images not verified", "err", err)
			continue
		}
		i.healAll(ctx, from)
		if err := i.thinAside(); err != nil {
			i.cfg.Log.Error("images that were set aside not removed", "err", err)
		}
		slow := &pacer{ctx: ctx, rate: rate}
		for _, one := range list {
			changes, err := i.Verify(ctx, one.ID, slow.read)
			if ctx.Err() != nil {
				return
			}
			if err != nil && !errors.Is(err, ErrNotExist) && !errors.Is(err, ErrInvalid) {
				i.cfg.Log.Error("image not verified", "id", one.ID, "err", err)
			}
			if len(changes) > 0 && err == nil {
				i.heal(ctx, one.ID, from)
			}
		}
		i.cfg.Log.Info("images verified", "images", len(list))
	}
}

// A pacer holds those who read up, so that together they keep to a rate.
type pacer struct {
	ctx  context.Context
	rate int64 // bytes a second

	mu   sync.Mutex
	next time.Time // when what was read so far is paid for
}

func (p *pacer) read(bytes int) {
	p.mu.Lock()
	now := time.Now()
	if p.next.Before(now) {
		p.next = now
	}
	p.next = p.next.Add(time.Duration(bytes) * time.Second / time.Duration(p.rate))
	wait := p.next.Sub(now)
	p.mu.Unlock()
	_ = sleep(p.ctx, wait) // that ctx has ended is found out by who reads
}
