package rootfs

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/gilliam/hypervisor/rootfs/oci"
)

// The cache, as it is on disk:
//
//	<id>/image.json   what is known of the image; its id is the SHA-256 of the archive
//	<id>/manifest     what is in the tree, as package manifest lists it
//	<id>/tree/        the image, root's, 0755
//	<id>/file-system  or a file system that is mounted in place of the tree, which is empty
//	refs/<key>.json   which image came from a source, and by what to ask it again
//	.fetch-…/         a transfer under way, of the same shape; no one else looks
//	.evict-…/         an image on its way out; the next start finishes that
//	.damaged-…/       an image that is not what it was; left for a person
//
// A transfer becomes an image by one rename, after all of it was written to the
// disk: what is visible is complete, whenever the machine stops. The time of the
// folder <id> is when the image was last asked for.
const (
	refsName      = "refs"
	refSuffix     = ".json"
	stagingPrefix = ".fetch-"
	evictPrefix   = ".evict-" // see evicted
	damagedPrefix = ".damaged-"
	treeName      = "tree"
	recordName    = "image.json"
	spoolName     = "spool" // of a transfer that must be whole before it can be unpacked
)

// idForm is the name of an image's folder.
var idForm = regexp.MustCompile(`^[0-9a-f]{64}$`)

const digestPrefix = "sha256:"

// idOf is the id of the image with that digest.
func idOf(digest string) string { return strings.TrimPrefix(digest, digestPrefix) }

// A record is what image.json holds.
type record struct {
	Version int       `json:"version"`
	Digest  string    `json:"digest,omitempty"` // empty: fetched before it was kept, and then the id is that of its ref
	Ref     string    `json:"ref"`              // where it came from first; redacted
	Format  string    `json:"format,omitempty"`
	Sent    int64     `json:"sent,omitempty"` // bytes of the archive
	Bytes   int64     `json:"bytes"`
	Disk    int64     `json:"disk,omitempty"` // bytes that its files take
	Tree    string    `json:"tree,omitempty"` // hash of its manifest; empty: of an older hypervisor, which made none
	Entries int       `json:"entries"`
	Fetched time.Time `json:"fetched"`

	Layers []string    `json:"layers,omitempty"` // ids of a container image's layers, the topmost first
	Config *oci.Config `json:"config,omitempty"` // of a container image
}

const imageVersion = 2

// disk is what the image takes of the disk.
func (r record) disk() int64 { return max(r.Disk, r.Bytes) }

// sweep removes what interrupted transfers and removals have left, and takes
// over what an older hypervisor kept in its own way.
func (i *Images) sweep() error {
	dir, err := os.Open(i.cfg.Dir)
	if err != nil {
		return err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return err
	}
	for _, name := range names {
		switch {
		case strings.HasPrefix(name, stagingPrefix), strings.HasPrefix(name, evictPrefix):
			if err := discard(dir, name); err != nil {
				return fmt.Errorf("remove what was interrupted: %w", err)
			}
			i.cfg.Log.Info("interrupted fetch or removal of an image cleared up", "name", name)
		case idForm.MatchString(name):
			if err := i.takeOver(name); err != nil {
				return err
			}
		}
	}
	return errors.Join(i.sweepRefs(), i.sweepLayers())
}

// takeOver gives an image that an older hypervisor has kept by the hash of its
// reference a ref of that name. Without a mark, its source sends it again when it
// is next asked for; until then, and when that fails, it is what there is.
func (i *Images) takeOver(id string) error {
	rec, err := i.readRecord(id)
	if err != nil || rec.Version != 0 {
		return nil // what is not readable is found out by who asks for it
	}
	err = i.writeRef(id, refRecord{Ref: rec.Ref, Image: id, Fetched: rec.Fetched})
	if err != nil {
		return err
	}
	rec.Version = imageVersion
	root, err := os.OpenRoot(filepath.Join(i.cfg.Dir, id))
	if err != nil {
		return err
	}
	defer root.Close()
	b, err := json.Marshal(rec)
	if err != nil {
		return err
	}
	i.cfg.Log.Info("image of an older hypervisor taken over", "image", rec.Ref)
	return replaceTreeFile(root, recordName, append(b, '\n'), 0o600)
}

// sweepRefs removes refs to images that are gone, but for those by which one that
// was set aside can be fetched again.
func (i *Images) sweepRefs() error {
	missing, err := i.missing()
	if err != nil {
		return err
	}
	refs, err := os.OpenRoot(i.refsDir())
	if err != nil {
		return err
	}
	defer refs.Close()
	entries, err := os.ReadDir(i.refsDir())
	if err != nil {
		return err
	}
	for _, e := range entries {
		if key, ok := strings.CutSuffix(e.Name(), refSuffix); ok {
			r, ok := i.readRef(key)
			if _, err := os.Lstat(filepath.Join(i.cfg.Dir, r.Image)); ok && (err == nil || slices.Contains(missing, r.Image)) {
				continue
			}
		}
		if err := refs.RemoveAll(e.Name()); err != nil {
			return err
		}
	}
	return nil
}

// readRecord reads what is known of an image, which must have its tree.
func (i *Images) readRecord(id string) (rec record, err error) {
	root, err := os.OpenRoot(filepath.Join(i.cfg.Dir, id))
	if err != nil {
		return record{}, err
	}
	defer root.Close()
	b, err := readTreeFile(root, recordName)
	if err == nil {
		err = json.Unmarshal(b, &rec)
	}
	if err == nil && rec.Format == containerFormat && rec.Config == nil {
		err = errors.New("a container image without its configuration")
	}
	if err == nil && isFileSystem(rec.Format) {
		if fi, e := root.Lstat(fileSystemName); e != nil || fi.Size() != rec.Sent {
			err = errors.Join(errors.New("its file system is not there, or has another size"), e)
		}
	}
	if fi, e := root.Lstat(treeName); err == nil && (e != nil || !fi.IsDir()) {
		err = errors.Join(errors.New("no tree"), e)
	}
	if err != nil {
		return record{}, &damagedError{err}
	}
	return rec, nil
}

// A damagedError is an image that is not what it should be.
type damagedError struct{ err error }

func (e *damagedError) Error() string { return e.err.Error() }

// cached is the image of that id, or an [ErrNotExist]. One that has no readable
// record is set aside, not removed: a proc may be running from it.
func (i *Images) cached(id string) (Image, error) {
	rec, err := i.readRecord(id)
	var damaged *damagedError
	switch {
	case errors.Is(err, fs.ErrNotExist) && !errors.As(err, &damaged):
		return Image{}, ErrNotExist
	case errors.As(err, &damaged):
		i.quarantined.Add(1)
		if err := i.setAside(id, err); err != nil {
			return Image{}, err
		}
		return Image{}, ErrNotExist
	case err != nil:
		return Image{}, err
	case slices.ContainsFunc(rec.Layers, func(id string) bool { return !i.layerExists(id) }):
		return Image{}, ErrNotExist // what is missing is fetched again
	}
	return i.image(id, rec), nil
}

func (i *Images) image(id string, rec record) Image {
	img := Image{Ref: rec.Ref, Digest: rec.Digest, Dir: i.treeOf(id), Bytes: rec.Bytes, Entries: rec.Entries}
	if isFileSystem(rec.Format) {
		img.FileSystem = &FileSystem{Type: rec.Format, Path: i.fileSystemOf(id)}
	}
	if rec.Format == containerFormat {
		img.Container = &Container{Config: *rec.Config}
		for _, id := range rec.Layers {
			img.Container.Layers = append(img.Container.Layers, i.layerTree(id))
		}
	}
	return img
}

// setAside takes an image out of use.
func (i *Images) setAside(id string, why error) error {
	aside := damagedPrefix + id + "-" + time.Now().UTC().Format("20060102T150405.000000000")
	i.cfg.Log.Warn("damaged image set aside", "id", id, "name", aside, "err", why)
	err := renameNew(filepath.Join(i.cfg.Dir, id), filepath.Join(i.cfg.Dir, aside))
	if errors.Is(err, fs.ErrNotExist) {
		return nil // by somebody else
	}
	return err
}

func (i *Images) treeOf(id string) string { return filepath.Join(i.cfg.Dir, id, treeName) }

// touch notes that the image was asked for now. It need not outlast a crash.
func (i *Images) touch(id string) {
	now := time.Now()
	if err := os.Chtimes(filepath.Join(i.cfg.Dir, id), now, now); err != nil {
		i.cfg.Log.Debug("time of an image not noted", "id", id, "err", err)
	}
}
