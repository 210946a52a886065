package rootfs

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// holdLayers makes holder a user of the layers whose trees these are. Callers hold
// h.mu.
func (h *holds) holdLayers(trees []string, holder string) {
	if h.layers == nil {
		h.layers = map[string][]string{}
	}
	for _, tree := range trees {
		h.layers[holder] = append(h.layers[holder], filepath.Base(filepath.Dir(tree)))
	}
}

// HoldLayers makes holder a user of those of the folders that are trees of layers,
// as one that was their user before this hypervisor was started.
func (i *Images) HoldLayers(dirs []string, holder string) {
	i.holds.mu.Lock()
	defer i.holds.mu.Unlock()
	for _, dir := range dirs {
		if id := filepath.Base(filepath.Dir(dir)); dir == i.layerTree(id) {
			i.holds.holdLayers([]string{dir}, holder)
		}
	}
}

// layerInUse tells whether a proc runs from a layer.
func (i *Images) layerInUse(id string) bool {
	i.holds.mu.Lock()
	defer i.holds.mu.Unlock()
	for _, layers := range i.holds.layers {
		if slices.Contains(layers, id) {
			return true
		}
	}
	return false
}

// dropLayers removes the layers that no image lists, no proc runs from, and no image
// that is being fetched is about to list.
func (i *Images) dropLayers() error {
	hidden, err := i.hideLayers()
	return errors.Join(err, discardFolders(hidden))
}

// hideLayers takes those layers out of sight, and returns where they are then.
func (i *Images) hideLayers() (hidden []string, err error) {
	i.pins.mu.Lock()
	defer i.pins.mu.Unlock()
	keep, err := i.listedLayers()
	if err != nil {
		return nil, err
	}
	i.holds.mu.Lock()
	for _, layers := range i.holds.layers {
		for _, id := range layers {
			keep[id] = true
		}
	}
	i.holds.mu.Unlock()
	entries, err := os.ReadDir(i.layersDir())
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		id := e.Name()
		if !idForm.MatchString(id) || keep[id] || i.pins.of[id] > 0 {
			continue
		}
		gone := filepath.Join(i.layersDir(), evicted(id))
		if err := renameNew(i.layerFolder(id), gone); err != nil {
			return hidden, err
		}
		hidden = append(hidden, gone)
	}
	return hidden, nil
}

// listedLayers are the layers that the records of images list.
func (i *Images) listedLayers() (map[string]bool, error) {
	entries, err := os.ReadDir(i.cfg.Dir)
	if err != nil {
		return nil, err
	}
	listed := map[string]bool{}
	for _, e := range entries {
		if !idForm.MatchString(e.Name()) {
			continue
		}
		rec, err := i.readRecord(e.Name())
		if errors.Is(err, fs.ErrNotExist) {
			continue // removed meanwhile
		}
		if err != nil {
			return nil, err // it may list some
		}
		for _, id := range rec.Layers {
			listed[id] = true
		}
	}
	return listed, nil
}

// onDisk is what all images take of the disk, a layer that several have once.
func (i *Images) onDisk(list []StoredImage) (sum int64, err error) {
	for _, one := range list {
		if one.Format != containerFormat {
			sum += one.Disk
		}
	}
	entries, err := os.ReadDir(i.layersDir())
	if err != nil {
		return 0, err
	}
	for _, e := range entries {
		if !idForm.MatchString(e.Name()) {
			continue
		}
		if rec, err := i.readLayer(e.Name()); err == nil {
			sum += rec.Disk
		}
	}
	return sum, nil
}
