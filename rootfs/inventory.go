package rootfs

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/gilliam/hypervisor/isolate/failpoint"
	"github.com/gilliam/hypervisor/isolate/safely"
)

// A StoredImage is an image in the cache, and what there is to say of it.
type StoredImage struct {
	ID      string    `json:"id"`     // 64 hexadecimal digits, those of its digest
	Digest  string    `json:"digest"` // empty: kept by an older hypervisor, which did not know it
	Refs    []string  `json:"refs"`   // where it is what was fetched last; redacted
	Format  string    `json:"format,omitempty"`
	Sent    int64     `json:"sent"`  // bytes of the archive
	Bytes   int64     `json:"bytes"` // of its files
	Disk    int64     `json:"disk"`  // bytes that it takes; of a container image, also with layers that others have
	Entries int       `json:"entries"`
	Layers  []string  `json:"layers,omitempty"` // ids of a container image's layers, the topmost first
	Fetched time.Time `json:"fetched"`
	Used    time.Time `json:"used"`   // when it was last asked for
	UsedBy  []string  `json:"in_use"` // ids of procs, in order
	Damaged bool      `json:"damaged,omitempty"`
}

// List is what is in the cache, the last used first.
func (i *Images) List() ([]StoredImage, error) {
	entries, err := os.ReadDir(i.cfg.Dir)
	if err != nil {
		return nil, err
	}
	refs, err := i.refs()
	if err != nil {
		return nil, err
	}
	list := []StoredImage{}
	for _, e := range entries {
		if !idForm.MatchString(e.Name()) {
			continue
		}
		if one, ok := i.stored(e.Name()); ok {
			for _, r := range refs[one.ID] {
				one.Refs = append(one.Refs, r.Ref)
			}
			slices.Sort(one.Refs)
			one.Refs = slices.Compact(one.Refs)
			list = append(list, one)
		}
	}
	slices.SortStableFunc(list, func(a, b StoredImage) int { return b.Used.Compare(a.Used) })
	return list, nil
}

// stored is one image, without its refs.
func (i *Images) stored(id string) (StoredImage, bool) {
	fi, err := os.Lstat(filepath.Join(i.cfg.Dir, id))
	if err != nil {
		return StoredImage{}, false // gone meanwhile
	}
	rec, err := i.readRecord(id)
	return StoredImage{
		ID: id, Digest: rec.Digest, Refs: []string{}, Format: rec.Format, Sent: rec.Sent, Bytes: rec.Bytes, Disk: rec.disk(),
		Entries: rec.Entries, Layers: rec.Layers, Fetched: rec.Fetched, Used: fi.ModTime().UTC(), UsedBy: i.usersOf(id), Damaged: err != nil,
	}, true
}

// Find is the image that s names: its id or its digest, or the beginning of one,
// at least 6 digits of it. The error is an [ErrNotExist] or an [ErrInvalid].
func (i *Images) Find(s string) (StoredImage, error) {
	prefix := idOf(s)
	if len(prefix) < 6 || strings.Trim(prefix, "0123456789abcdef") != "" {
		return StoredImage{}, invalid("must be the digest of an image, or at least the first 6 digits of it")
	}
	list, err := i.List()
	if err != nil {
		return StoredImage{}, err
	}
	list = slices.DeleteFunc(list, func(one StoredImage) bool { return !strings.HasPrefix(one.ID, prefix) })
	switch len(list) {
	case 0:
		return StoredImage{}, &kindError{ErrNotExist, fmt.Sprintf("image %s: is not in the cache", prefix)}
	case 1:
		return list[0], nil
	}
	return StoredImage{}, invalid("%d images begin with %s: give more digits", len(list), prefix)
}

// Remove removes an image from the cache, unless a proc uses it: an [ErrInUse].
func (i *Images) Remove(id string) error {
	if !idForm.MatchString(id) {
		return invalid("must be the id of an image")
	}
	gone, err := i.takeAway(id)
	return errors.Join(err, discardFolders(gone))
}

// takeAway takes an image out of sight, with the layers that nobody has then, and
// returns the folders that are to be discarded.
func (i *Images) takeAway(id string) (gone []string, err error) {
	name, err := i.hide(id)
	if err != nil {
		return nil, err
	}
	gone = append(gone, filepath.Join(i.cfg.Dir, name))
	failpoint.Hit("rootfs.image.evicted")
	if err := i.dropRefs(id); err != nil {
		return gone, err
	}
	layers, err := i.hideLayers()
	return append(gone, layers...), err
}

// discardFolders removes folders of ours that nobody sees any more.
func discardFolders(paths []string) (err error) {
	for _, path := range paths {
		dir, e := os.Open(filepath.Dir(path))
		if e == nil {
			e = errors.Join(discard(dir, filepath.Base(path)), dir.Close())
		}
		err = errors.Join(err, e)
	}
	return err
}

// hide takes an image out of sight, at once for everybody.
func (i *Images) hide(id string) (name string, err error) {
	i.holds.mu.Lock()
	defer i.holds.mu.Unlock()
	if users := i.holds.users(id); len(users) > 0 {
		return "", &kindError{ErrInUse, fmt.Sprintf("image %.12s: in use by %s", id, strings.Join(users, ", "))}
	}
	name = evicted(id)
	err = renameNew(filepath.Join(i.cfg.Dir, id), filepath.Join(i.cfg.Dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return "", &kindError{ErrNotExist, fmt.Sprintf("image %.12s: is not in the cache", id)}
	}
	return name, err
}

// evicted is a name for an image or a layer on its way out. One that was the same may
// be on its way still.
func evicted(id string) string { return evictPrefix + id + "-" + rand.Text() }

// dropRefs removes the refs that lead to an image.
func (i *Images) dropRefs(id string) error {
	entries, err := os.ReadDir(i.refsDir())
	if err != nil {
		return err
	}
	for _, e := range entries {
		key, ok := strings.CutSuffix(e.Name(), refSuffix)
		if !ok {
			continue
		}
		if r, ok := i.readRef(key); ok && r.Image == id {
			if err := os.Remove(i.refPath(key)); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	return nil
}

// GC removes images that no proc uses, the least recently used first, until those
// that are left take at most most bytes, and returns what it has removed.
func (i *Images) GC(most int64) ([]StoredImage, error) {
	removed, gone, err := i.gc(most)
	return removed, errors.Join(err, discardFolders(gone))
}

// gc is GC, but for the folders that are to be discarded.
func (i *Images) gc(most int64) (removed []StoredImage, gone []string, err error) {
	list, err := i.List()
	if err != nil {
		return nil, nil, err
	}
	removed = []StoredImage{}
	for n, one := range slices.Backward(slices.Clone(list)) {
		sum, err := i.onDisk(list)
		if err != nil || sum <= most {
			return removed, gone, err
		}
		folders, err := i.takeAway(one.ID)
		gone = append(gone, folders...)
		switch {
		case errors.Is(err, ErrInUse), errors.Is(err, ErrNotExist):
			continue
		case err != nil:
			return removed, gone, err
		}
		list = slices.Delete(list, n, n+1)
		i.evicted.Add(1)
		i.cfg.Log.Info("image removed from the cache", "digest", one.Digest, "refs", one.Refs, "disk", one.Disk, "used", one.Used)
		removed = append(removed, one)
	}
	return removed, gone, nil
}

// evict keeps to the size of the cache after an image has come. Who fetched that does
// not wait until the files of those that went are gone.
func (i *Images) evict() {
	if i.cfg.CacheSize == 0 {
		return
	}
	_, gone, err := i.gc(i.cfg.CacheSize)
	if err != nil {
		i.cfg.Log.Error("images not removed from the cache", "err", err)
	}
	if len(gone) == 0 {
		return
	}
	// Owned by the Images: ends when the folders are gone. Close waits for it.
	i.evictions.Go(func() {
		if err := safely.Do(func() error { return discardFolders(gone) }); err != nil {
			i.cfg.Log.Error("files of removed images are left until the next start", "err", err)
		}
	})
}

// Close waits for what was begun beside others. Nobody may fetch meanwhile, nor
// afterwards.
func (i *Images) Close() error {
	i.evictions.Wait()
	return nil
}
