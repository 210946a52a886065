package rootfs

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gilliam/hypervisor/isolate/failpoint"
)

// The store of templates, as it is on disk:
//
//	NAME/<version>/template.json  what is known of the version
//	NAME/<version>/manifest       the list of its tree, whose hash names the version
//	NAME/<version>/tree/          the root file system
//	NAME/current                  a link to the version that NAME stands for
//	.template-new-…/              a version being made, locked by who makes it
//	.template-gone-…/             a version being removed
//	.lock                         held while versions appear or go
//
// A version appears by one rename, after all of it was written to the disk, and
// is never written to again. The same tree is the same version, whoever makes it
// and how often.
const (
	templateRecordName = "template.json"
	manifestName       = "manifest"
	currentName        = "current"
	currentNewName     = ".current-new"
	draftPrefix        = ".template-new-"
	gonePrefix         = ".template-gone-"
	storeLockName      = ".lock"
)

// versionLen is how many characters of a tree's hash name a version.
const versionLen = 16

// A templateRecord is what template.json holds.
type templateRecord struct {
	Name    string    `json:"name"`
	Version string    `json:"version"`
	Hash    string    `json:"hash"`
	Source  string    `json:"source,omitempty"`
	Created time.Time `json:"created"`
	Files   int       `json:"files"`
	Bytes   int64     `json:"bytes"`
}

// readTemplateRecord reads that of the version in dir.
func readTemplateRecord(dir string) (templateRecord, error) {
	var rec templateRecord
	b, err := os.ReadFile(filepath.Join(dir, templateRecordName))
	if errors.Is(err, fs.ErrNotExist) {
		return rec, errAbsent
	}
	if err != nil {
		return rec, err
	}
	if err := json.Unmarshal(b, &rec); err != nil {
		return rec, invalid("read %s: %v", filepath.Join(dir, templateRecordName), err)
	}
	return rec, nil
}

// currentVersion is what the link of the template in dir says.
func currentVersion(dir string) (string, error) {
	version, err := os.Readlink(filepath.Join(dir, currentName))
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ENOTDIR):
		return "", errAbsent
	case err != nil:
		return "", err
	case !templateVersion.MatchString(version):
		return "", invalid("%s leads to %s, which is no version", filepath.Join(dir, currentName), quote(version))
	}
	return version, nil
}

// lockStore makes the store, and holds it for a change of what it has.
func (t *Templates) lockStore() (unlock func(), err error) {
	if err := t.makeStore(); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(t.cfg.Dir, storeLockName), os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	// Held for two renames at most, so that nobody waits for long.
	for err = unix.EINTR; err == unix.EINTR; {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX)
	}
	if err != nil {
		return nil, errors.Join(&fs.PathError{Op: "flock", Path: f.Name(), Err: err}, f.Close())
	}
	return func() { _ = f.Close() }, nil
}

// makeStore makes the folder of templates, open to root alone.
func (t *Templates) makeStore() error {
	if t.cfg.Dir == "" {
		return invalid("no folder of templates: there is only %q", DefaultTemplate)
	}
	return privateParent(filepath.Join(t.cfg.Dir, "name"))
}

// publish makes a complete draft the current version of its template. Where that
// version is there already the draft stays what it is. The caller holds the store.
func (t *Templates) publish(staging string, rec templateRecord) error {
	dir := filepath.Join(t.cfg.Dir, rec.Name)
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	version := filepath.Join(dir, rec.Version)
	old, err := readTemplateRecord(version)
	switch {
	case errors.Is(err, errAbsent):
		if err := renameNew(staging, version); err != nil {
			return err
		}
		failpoint.Hit("template.published")
	case err != nil:
		return err
	case old.Hash != rec.Hash:
		return fmt.Errorf("version %s of template %s is there, of another tree: %s, and not %s", rec.Version, rec.Name, old.Hash, rec.Hash)
	}
	if err := errors.Join(syncFolder(dir), syncFolder(t.cfg.Dir)); err != nil {
		return err
	}
	return point(dir, rec.Version)
}

// point makes version the current one of the template in dir.
func point(dir, version string) error {
	link := filepath.Join(dir, currentNewName)
	if err := os.Remove(link); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Symlink(version, link); err != nil {
		return err
	}
	failpoint.Hit("template.pointing")
	if err := os.Rename(link, filepath.Join(dir, currentName)); err != nil {
		return err
	}
	failpoint.Hit("template.pointed")
	return syncFolder(dir)
}

// syncFolder makes what was renamed in a folder last.
func syncFolder(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
