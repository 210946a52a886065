package rootfs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/gilliam/hypervisor/rootfs/manifest"
)

// verifyLayers reads every byte of the layers and lists what is not as it was
// unpacked. A layer of which anything is different is set aside: what has it is
// fetched again.
func (i *Images) verifyLayers(ctx context.Context, ids []string, read func(bytes int)) (all []manifest.Change, err error) {
	for _, id := range ids {
		changes, err := i.verifyLayer(ctx, id, read)
		for _, c := range changes {
			c.Path = fmt.Sprintf("layer %.12s/%s", id, c.Path)
			all = append(all, c)
		}
		if err != nil {
			return all, fmt.Errorf("layer %.12s: %w", id, err)
		}
	}
	return all, nil
}

func (i *Images) verifyLayer(ctx context.Context, id string, read func(bytes int)) ([]manifest.Change, error) {
	for {
		was, gone := os.Lstat(i.layerFolder(id))
		changes, err := i.compareLayer(ctx, id, read)
		switch {
		case err == nil && len(changes) == 0, gone != nil:
			return changes, err
		case ctx.Err() == nil && !isStill(i.layerFolder(id), was):
			continue // fetched again for an image that shares it
		case err != nil:
			return nil, err
		}
		return changes, i.setLayerAside(id, errors.New(changes[0].String()))
	}
}

func (i *Images) compareLayer(ctx context.Context, id string, read func(bytes int)) ([]manifest.Change, error) {
	rec, err := i.readLayer(id)
	if errors.Is(err, fs.ErrNotExist) {
		return []manifest.Change{{Path: layerRecordName, What: "missing"}}, nil
	}
	if err != nil {
		return []manifest.Change{{Path: layerRecordName, What: err.Error()}}, nil
	}
	was, err := readManifest(filepath.Join(i.layerFolder(id), manifestName))
	if err != nil || was.Hash() != rec.Tree {
		return []manifest.Change{{Path: manifestName, What: "is not the list that was made when it was unpacked"}}, nil
	}
	is, err := manifest.Scan(ctx, i.layerTree(id), read)
	if err != nil {
		return nil, err
	}
	return was.Diff(is), nil
}
