package rootfs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/gilliam/hypervisor/isolate/failpoint"
	"github.com/gilliam/hypervisor/rootfs/manifest"
	"github.com/gilliam/hypervisor/rootfs/oci"
)

// The layers of container images, as they are on disk, each once for all images
// that have it:
//
//	layers/<id>/layer.json  what is known of the layer; its id is the SHA-256 of its tar
//	layers/<id>/manifest    a list of what was unpacked
//	layers/<id>/tree/       the layer, in the form of overlayfs
//	layers/.fetch-…/        a transfer under way, of the same shape; no one else looks
//	layers/.evict-…/        a layer on its way out; the next start finishes that
//
// An image's record lists its layers. A layer that no record lists is removed with
// the next image that is.
const (
	layersName      = "layers"
	layerRecordName = "layer.json"
)

// A layerRecord is what layer.json holds.
type layerRecord struct {
	oci.Stats
	Sent    int64     `json:"sent"` // bytes of the blob
	Tree    string    `json:"tree"` // hash of the list
	Fetched time.Time `json:"fetched"`
}

// pins keep layers that an image which is not recorded yet is about to list.
type pins struct {
	mu sync.Mutex
	of map[string]int // layer to images
}

// pin keeps layers until the function that it returns is called.
func (i *Images) pin(layers []oci.Layer) (unpin func()) {
	count := func(by int) {
		i.pins.mu.Lock()
		defer i.pins.mu.Unlock()
		for _, l := range layers {
			id := idOf(l.DiffID)
			if i.pins.of[id] += by; i.pins.of[id] == 0 {
				delete(i.pins.of, id)
			}
		}
	}
	count(1)
	return func() { count(-1) }
}

func (i *Images) layersDir() string            { return filepath.Join(i.cfg.Dir, layersName) }
func (i *Images) layerTree(id string) string   { return filepath.Join(i.layersDir(), id, treeName) }
func (i *Images) layerExists(id string) bool   { _, err := os.Lstat(i.layerTree(id)); return err == nil }
func (i *Images) layerFolder(id string) string { return filepath.Join(i.layersDir(), id) }

// provideLayer finds the layer in the cache or fetches it, once for all who want it
// now.
func (i *Images) provideLayer(ctx context.Context, from oci.Blobs, ref oci.Reference, l oci.Layer) (layerRecord, error) {
	by := ref.Registry + "/" + ref.Repository
	for {
		f, lead, err := i.flights.do(ctx, "layer "+l.DiffID, by, func(ctx context.Context) (Image, bool, error) {
			if i.layerExists(idOf(l.DiffID)) {
				_, err := i.readLayer(idOf(l.DiffID))
				if err == nil {
					return Image{}, false, nil
				}
				if err := i.setLayerAside(idOf(l.DiffID), err); err != nil {
					return Image{}, true, err
				}
			}
			return Image{}, true, i.fetchLayer(ctx, from, l)
		})
		if err != nil && !lead && f.by != by && ctx.Err() == nil {
			continue // it may have been the other's registry that failed
		}
		if err != nil {
			return layerRecord{}, err
		}
		return i.readLayer(idOf(l.DiffID))
	}
}

func (i *Images) readLayer(id string) (rec layerRecord, err error) {
	root, err := os.OpenRoot(i.layerFolder(id))
	if err != nil {
		return rec, err
	}
	defer root.Close()
	b, err := readTreeFile(root, layerRecordName)
	if err != nil {
		return rec, err
	}
	if err := json.Unmarshal(b, &rec); err != nil {
		return rec, fmt.Errorf("record of layer %s: %w", id, err)
	}
	return rec, nil
}

// setLayerAside takes a layer out of use. It is not removed: a proc may run from it.
func (i *Images) setLayerAside(id string, why error) error {
	aside := damagedPrefix + id + "-" + time.Now().UTC().Format("20060102T150405.000000000")
	i.cfg.Log.Warn("damaged layer set aside", "id", id, "name", aside, "err", why)
	err := renameNew(i.layerFolder(id), filepath.Join(i.layersDir(), aside))
	if errors.Is(err, fs.ErrNotExist) {
		return nil // it is gone as it is
	}
	return err
}

// fetchLayer fetches a layer, again if the registry breaks off.
func (i *Images) fetchLayer(ctx context.Context, from oci.Blobs, l oci.Layer) (err error) {
	ctx, stop := context.WithTimeoutCause(ctx, i.cfg.Timeout,
		&unreachableError{fmt.Errorf("not there after %v: the registry is slow, or the layer too large", i.cfg.Timeout)})
	defer stop()
	for attempt := 1; ; attempt++ {
		err = i.attemptLayer(ctx, from, l)
		var passing *unreachableError
		if !errors.As(err, &passing) || attempt == maxAttempts || context.Cause(ctx) != nil {
			break
		}
		i.cfg.Log.Info("transfer of a layer begins again", "layer", l.Digest, "err", err)
		if sleep(ctx, i.retry.pause(attempt, rand.Float64())) != nil {
			break
		}
	}
	// What ended the context says more than what broke by it.
	if cause := context.Cause(ctx); err != nil && cause != nil {
		err = cause
	}
	return err
}

// attemptLayer is one transfer. When it fails it leaves nothing.
func (i *Images) attemptLayer(ctx context.Context, from oci.Blobs, l oci.Layer) (err error) {
	s, err := newStaging(i.layersDir())
	if err != nil {
		return err
	}
	defer func() { err = s.end(err) }()
	failpoint.Hit("rootfs.layer.fetch.begun")
	st, err := i.receiveLayer(ctx, from, l, s.root)
	if err != nil {
		return err
	}
	failpoint.Hit("rootfs.layer.received")
	if err := s.sealLayer(ctx, layerRecord{Stats: st, Sent: l.Size, Fetched: time.Now().UTC()}); err != nil {
		return err
	}
	failpoint.Hit("rootfs.layer.sealed")
	err = s.publish(idOf(l.DiffID))
	if errors.Is(err, fs.ErrExist) {
		return s.discard() // another way was quicker
	}
	if err != nil {
		return err
	}
	failpoint.Hit("rootfs.layer.published")
	return s.in.Sync()
}

// sealLayer lists what was unpacked, writes the record, and then all of the transfer
// to the disk.
func (s *staging) sealLayer(ctx context.Context, rec layerRecord) error {
	list, err := manifest.Scan(ctx, filepath.Join(s.path, treeName), nil)
	if err != nil {
		return err
	}
	if rec.Tree, err = writeList(s.root, list); err != nil {
		return err
	}
	return s.seal(layerRecordName, rec)
}

// sweepLayers finishes what interrupted transfers and removals have left.
func (i *Images) sweepLayers() error {
	dir, err := os.Open(i.layersDir())
	if err != nil {
		return err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return err
	}
	for _, name := range names {
		if !strings.HasPrefix(name, stagingPrefix) && !strings.HasPrefix(name, evictPrefix) {
			continue
		}
		if err := discard(dir, name); err != nil {
			return fmt.Errorf("remove what was interrupted: %w", err)
		}
		i.cfg.Log.Info("interrupted fetch or removal of a layer cleared up", "name", name)
	}
	return nil
}
