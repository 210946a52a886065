package rootfs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gilliam/hypervisor/isolate/failpoint"
)

// The cache, as it is on disk:
//
//	<key>/image.json  what is known of the image
//	<key>/tree/       the image, root's, 0755
//	.fetch-…/         a transfer under way, of the same shape; no one else looks
//	.damaged-…/       a <key> whose image.json was not readable; left for a person
//
// A transfer becomes an image by one rename, after all of it was written to the
// disk: what is visible is complete, whenever the machine stops.
const (
	stagingPrefix = ".fetch-"
	damagedPrefix = ".damaged-"
	treeName      = "tree"
	recordName    = "image.json"
	spoolName     = "spool" // of a transfer that must be whole before it can be unpacked
)

// A record is what image.json holds.
type record struct {
	Ref     string    `json:"ref"` // redacted
	Bytes   int64     `json:"bytes"`
	Entries int       `json:"entries"`
	Fetched time.Time `json:"fetched"`
}

// sweep removes what interrupted transfers have left.
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
		if !strings.HasPrefix(name, stagingPrefix) {
			continue
		}
		if err := discard(dir, name); err != nil {
			return fmt.Errorf("remove an interrupted fetch: %w", err)
		}
		i.cfg.Log.Info("interrupted fetch removed", "name", name)
	}
	return nil
}

// cached is the image of that key, or an [ErrNotExist]. One that has no
// readable record is set aside, not removed: a proc may be running from it.
func (i *Images) cached(key string) (Image, error) {
	root, err := os.OpenRoot(filepath.Join(i.cfg.Dir, key))
	if errors.Is(err, fs.ErrNotExist) {
		return Image{}, ErrNotExist
	}
	if err != nil {
		return Image{}, err
	}
	defer root.Close()
	var rec record
	b, err := readTreeFile(root, recordName)
	if err == nil {
		err = json.Unmarshal(b, &rec)
	}
	if fi, e := root.Lstat(treeName); err == nil && (e != nil || !fi.IsDir()) {
		err = errors.Join(errors.New("no tree"), e)
	}
	if err == nil {
		return Image{Dir: i.treeOf(key), Bytes: rec.Bytes, Entries: rec.Entries}, nil
	}
	aside := damagedPrefix + key + "-" + time.Now().UTC().Format("20060102T150405.000000000")
	i.cfg.Log.Warn("damaged image set aside", "key", key, "name", aside, "err", err)
	if err := renameNew(filepath.Join(i.cfg.Dir, key), filepath.Join(i.cfg.Dir, aside)); err != nil {
		return Image{}, err
	}
	return Image{}, ErrNotExist
}

func (i *Images) treeOf(key string) string { return filepath.Join(i.cfg.Dir, key, treeName) }

// transfer receives and unpacks an image beside the others, and renames it into
// place. When it fails it leaves nothing.
func (i *Images) transfer(ctx context.Context, src source) (img Image, err error) {
	dir, err := os.Open(i.cfg.Dir)
	if err != nil {
		return Image{}, err
	}
	defer dir.Close()
	staging, err := os.MkdirTemp(i.cfg.Dir, stagingPrefix) // 0700
	if err != nil {
		return Image{}, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, discard(dir, filepath.Base(staging)))
		}
	}()
	root, err := os.OpenRoot(staging)
	if err != nil {
		return Image{}, err
	}
	defer root.Close()
	failpoint.Hit("rootfs.image.begun")
	st, err := i.receive(ctx, src, root)
	if err != nil {
		return Image{}, err
	}
	failpoint.Hit("rootfs.image.received")
	rec := record{Ref: src.String(), Bytes: st.Bytes, Entries: st.Entries, Fetched: time.Now().UTC()}
	if err := seal(root, rec); err != nil {
		return Image{}, err
	}
	failpoint.Hit("rootfs.image.sealed")
	return i.publish(dir, staging, src.key(), rec)
}

// seal writes the record, and then all of the transfer to the disk.
func seal(root *os.Root, rec record) error {
	b, err := json.Marshal(rec)
	if err != nil {
		return err
	}
	if err := root.WriteFile(recordName, append(b, '\n'), 0o600); err != nil {
		return err
	}
	top, err := root.Open(".")
	if err != nil {
		return err
	}
	defer top.Close()
	return syncTree(top)
}

// publish makes a sealed transfer visible. If the same image has meanwhile come
// by another way, that one stays.
func (i *Images) publish(dir *os.File, staging, key string, rec record) (Image, error) {
	err := renameNew(staging, filepath.Join(i.cfg.Dir, key))
	if errors.Is(err, fs.ErrExist) {
		if err := discard(dir, filepath.Base(staging)); err != nil {
			return Image{}, err
		}
		return i.cached(key)
	}
	if err != nil {
		return Image{}, err
	}
	failpoint.Hit("rootfs.image.published")
	if err := dir.Sync(); err != nil {
		return Image{}, err
	}
	return Image{Dir: i.treeOf(key), Bytes: rec.Bytes, Entries: rec.Entries}, nil
}
