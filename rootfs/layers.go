package rootfs

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/gilliam/hypervisor/isolate"
	"github.com/gilliam/hypervisor/isolate/failpoint"
)

// The folder of layers, as it is on disk:
//
//	<id>/image             a layer with a limit
//	<id>/upper, <id>/work  one without
//	.new-<id>/             one being made
//	.ready-…/image         one that was made ahead
//	.trash-…/              one being removed
const (
	newPrefix   = ".new-"
	readyPrefix = ".ready-"
	trashPrefix = ".trash-"
)

// Layers makes and removes the writable layers of procs. Its methods may be
// called at once by many.
type Layers struct {
	dir  string
	fd   *os.File // dir, open as long as the hypervisor runs
	root *os.Root // the same

	// Log is told what could not be removed. Nil means no one.
	Log *slog.Logger

	stock *stock // nil when none is made ahead

	retiring sync.WaitGroup
	few      chan struct{} // bounds how many are removed at once
}

// OpenLayers opens the folder of layers. It is made when missing, mode 0700.
// What a hypervisor before us had begun to make or to remove is removed; no
// other may use the same folder.
func OpenLayers(dir string) (*Layers, error) {
	if !filepath.IsAbs(dir) {
		return nil, invalid("folder of layers %s: must be an absolute path", quote(dir))
	}
	if err := makePrivate(dir); err != nil {
		return nil, err
	}
	fd, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, errors.Join(err, fd.Close())
	}
	l := &Layers{dir: filepath.Clean(dir), fd: fd, root: root, few: make(chan struct{}, 2)}
	names, err := l.names()
	for _, name := range names {
		if strings.HasPrefix(name, newPrefix) || strings.HasPrefix(name, readyPrefix) || strings.HasPrefix(name, trashPrefix) {
			// One that cannot be removed now, say for a mount in it, is no
			// reason not to start: it is no layer any more.
			_ = discard(l.fd, name)
		}
	}
	return l, err
}

// Create makes the layer of a proc whose sandbox has these ids. The folders in
// need, relative names like "dev" or "var/tmp", are made in upper, so that they
// are folders in the sandbox whatever the template has in their place, and a
// mount on them cannot be led elsewhere. Upper and what is in it belong to the
// sandbox's root, mode 0755; tmp and var/tmp are 1777.
//
// The error is an [ErrExist] when the id has a layer, or one is being made for
// it. When Create fails it leaves nothing.
func (l *Layers) Create(id string, ids isolate.IDRange, need []string) (layer isolate.Layer, err error) {
	if ids.Base == 0 || ids.Size == 0 || ids.Base+ids.Size < ids.Base {
		return isolate.Layer{}, invalid("layer %s: %d ids from %d on are no range of a sandbox", quote(id), ids.Size, ids.Base)
	}
	for _, name := range need {
		if !fs.ValidPath(name) || name == "." {
			return isolate.Layer{}, invalid("layer %s: folder %s: must be a relative path without \"..\"", quote(id), quote(name))
		}
	}
	err = l.make(id, func(root *os.Root) error { return fill(root, int(ids.Base), need) })
	if err != nil {
		return isolate.Layer{}, err
	}
	return l.At(id, isolate.Limits{}), nil
}

// At is where the layer of a proc is, or would be, whose limits are these.
func (l *Layers) At(id string, limits isolate.Limits) isolate.Layer {
	if limits.Disk > 0 {
		return isolate.Layer{Image: filepath.Join(l.dir, id, imageName)}
	}
	return isolate.Layer{
		Upper: filepath.Join(l.dir, id, "upper"),
		Work:  filepath.Join(l.dir, id, "work"),
	}
}

// make makes a layer of what f puts into its folder, which then appears as a whole.
func (l *Layers) make(id string, f func(*os.Root) error) (err error) {
	if !layerID.MatchString(id) {
		return invalid("layer id %s: must be 1 to 64 characters of a-z, 0-9 and '-'", quote(id))
	}
	tmp := newPrefix + id
	if err := l.root.Mkdir(tmp, 0o700); err != nil {
		return l.exists(id, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, discard(l.fd, tmp))
		}
	}()
	failpoint.Hit("rootfs.layer.begun")
	if err := l.within(tmp, f); err != nil {
		return fmt.Errorf("layer %s: %w", id, err)
	}
	if err := renameNew(filepath.Join(l.dir, tmp), filepath.Join(l.dir, id)); err != nil {
		return l.exists(id, err)
	}
	failpoint.Hit("rootfs.layer.made")
	return nil
}

func (l *Layers) within(name string, f func(*os.Root) error) error {
	root, err := l.root.OpenRoot(name)
	if err != nil {
		return err
	}
	defer root.Close()
	return f(root)
}

func (l *Layers) exists(id string, err error) error {
	if errors.Is(err, fs.ErrExist) {
		return &kindError{ErrExist, fmt.Sprintf("layer %s already exists", id)}
	}
	return fmt.Errorf("layer %s: %w", id, err)
}

// fill makes upper, work and what is needed in upper.
func fill(root *os.Root, owner int, need []string) error {
	if err := root.Mkdir("work", 0o700); err != nil {
		return err
	}
	if err := makeOwned(root, "upper", owner, 0o755); err != nil {
		return err
	}
	upper, err := root.OpenRoot("upper")
	if err != nil {
		return err
	}
	defer upper.Close()
	made := map[string]bool{}
	for _, name := range need {
		for _, dir := range lineage(name) {
			if made[dir] {
				continue
			}
			made[dir] = true
			mode := fs.FileMode(0o755)
			if dir == "tmp" || dir == "var/tmp" {
				mode = 0o777 | fs.ModeSticky
			}
			if err := makeOwned(upper, dir, owner, mode); err != nil {
				return err
			}
		}
	}
	return nil
}

// lineage is "a", "a/b", "a/b/c" for "a/b/c".
func lineage(name string) []string {
	var all []string
	for ; name != "."; name = path.Dir(name) {
		all = append(all, name)
	}
	slices.Reverse(all)
	return all
}

// makeOwned makes one folder with that owner and that mode, whatever the umask.
func makeOwned(root *os.Root, name string, owner int, mode fs.FileMode) error {
	if err := root.Mkdir(name, 0o700); err != nil {
		return err
	}
	if err := root.Lchown(name, owner, owner); err != nil {
		return err
	}
	return root.Chmod(name, mode)
}

// List is the ids of all layers, in order.
func (l *Layers) List() ([]string, error) {
	names, err := l.names()
	if err != nil {
		return nil, err
	}
	ids := slices.DeleteFunc(names, func(name string) bool { return !layerID.MatchString(name) })
	slices.Sort(ids)
	return ids, nil
}

// names is all that is in the folder. It opens it anew: a shared position would
// be in the way of another caller.
func (l *Layers) names() ([]string, error) {
	d, err := l.root.Open(".")
	if err != nil {
		return nil, err
	}
	defer d.Close()
	return d.Readdirnames(-1)
}
