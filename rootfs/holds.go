package rootfs

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
)

// holds say which images are in use, and by whom. They are not on the disk: who
// uses an image remembers it, and says so to the next hypervisor before that
// removes anything.
type holds struct {
	mu sync.Mutex
	of map[string]map[string]bool // image to holders

	layers map[string][]string // holder to layers of containers
}

// hold makes holder a user of the image, unless that is gone.
func (i *Images) hold(img Image, holder string) bool {
	id := filepath.Base(filepath.Dir(img.Dir))
	i.holds.mu.Lock()
	defer i.holds.mu.Unlock()
	if _, err := os.Lstat(img.Dir); err != nil {
		return false
	}
	i.touch(id)
	if holder != "" {
		i.holds.add(id, holder)
		if img.Container != nil {
			i.holds.holdLayers(img.Container.Layers, holder)
		}
	}
	return true
}

func (h *holds) add(id, holder string) {
	if h.of == nil {
		h.of = map[string]map[string]bool{}
	}
	if h.of[id] == nil {
		h.of[id] = map[string]bool{}
	}
	h.of[id][holder] = true
}

// Hold makes holder a user of the image whose tree or file system is at path, as one
// that was its user before this hypervisor was started. It returns the image's digest;
// empty: path is no image's.
func (i *Images) Hold(path, holder string) (digest string) {
	id := filepath.Base(filepath.Dir(path))
	if path != i.treeOf(id) && path != i.fileSystemOf(id) || !idForm.MatchString(id) {
		return ""
	}
	i.holds.mu.Lock()
	i.holds.add(id, holder)
	i.holds.mu.Unlock()
	if img, err := i.cached(id); err == nil {
		digest = img.Digest
	}
	return digest
}

// Dir is where the tree of the image with that digest is or would be.
func (i *Images) Dir(digest string) string { return i.treeOf(idOf(digest)) }

// Release ends all use that holder makes of images.
func (i *Images) Release(holder string) {
	i.holds.mu.Lock()
	defer i.holds.mu.Unlock()
	delete(i.holds.layers, holder)
	for id, holders := range i.holds.of {
		if delete(holders, holder); len(holders) == 0 {
			delete(i.holds.of, id)
		}
	}
}

// usersOf are those who hold the image, in order.
func (i *Images) usersOf(id string) []string {
	i.holds.mu.Lock()
	defer i.holds.mu.Unlock()
	return i.holds.users(id)
}

func (i *Images) inUse(id string) bool { return len(i.usersOf(id)) > 0 }

// users are those who hold the image, in order. Callers hold h.mu.
func (h *holds) users(id string) []string {
	users := slices.AppendSeq(make([]string, 0, len(h.of[id])), maps.Keys(h.of[id]))
	slices.Sort(users)
	return users
}
