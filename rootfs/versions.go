package rootfs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/gilliam/hypervisor/isolate/failpoint"
	"github.com/gilliam/hypervisor/rootfs/manifest"
)

// Versions are all usable ones of a template, the current one first and the others
// from the newest to the oldest. A plain folder has one.
func (t *Templates) Versions(ref string) ([]Template, error) {
	all, err := t.all(ref)
	if err != nil {
		return nil, err
	}
	usable := []Template{}
	for _, one := range all {
		if one, err := t.usable(one); err == nil {
			usable = append(usable, one)
		}
	}
	return usable, nil
}

// all is [Templates.Versions], usable or not.
func (t *Templates) all(ref string) ([]Template, error) {
	name, version, err := splitRef(ref)
	if err != nil {
		return nil, err
	}
	current, err := t.find(name)
	if version != "" { // one of the store, whatever "default" stands for
		current, err = t.stored(name, "")
	}
	if errors.Is(err, errAbsent) {
		err = t.unknown(name)
	}
	if err != nil || !current.Sealed() {
		return []Template{current}, err
	}
	versions, err := t.versions(current.Name)
	if err != nil {
		return nil, err
	}
	all := []Template{}
	for _, v := range versions {
		one, err := t.stored(current.Name, v)
		if err == nil && v != current.Version { // what has no record is of no use
			all = append(all, one)
		}
	}
	slices.SortFunc(all, func(a, b Template) int { return b.Created.Compare(a.Created) })
	return slices.Insert(all, 0, current), nil
}

// versions are the names of all versions of a template.
func (t *Templates) versions(name string) (all []string, err error) {
	entries, err := os.ReadDir(filepath.Join(t.cfg.Dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	for _, e := range entries {
		if templateVersion.MatchString(e.Name()) {
			all = append(all, e.Name())
		}
	}
	return all, err
}

// Verify reads every byte of a sealed template and lists what is not as it was
// sealed. read is told of the bytes, by several goroutines at once; nil means no
// one.
func (t *Templates) Verify(ctx context.Context, ref string, read func(bytes int)) (Template, []manifest.Change, error) {
	found, err := t.find(ref) // what is not usable is what this is about
	if errors.Is(err, errAbsent) {
		err = t.unknown(ref)
	}
	if err != nil {
		return found, nil, err
	}
	if !found.Sealed() {
		return found, nil, invalid("template %q is a plain folder, %s, of which nobody has recorded what was in it: seal it with "+
			"\"hypervisor template adopt NAME DIR\"", found.Name, found.Path)
	}
	sealed, err := readManifest(filepath.Join(filepath.Dir(found.Path), manifestName))
	if err != nil {
		return found, nil, fmt.Errorf("verify template %s: %w", found.Ref(), err)
	}
	if sealed.Hash() != found.Hash {
		return found, nil, invalid("verify template %s: its manifest has been changed: its hash is %s, was %s", found.Ref(), sealed.Hash(), found.Hash)
	}
	now, err := manifest.Scan(ctx, found.Path, read)
	if err != nil {
		return found, nil, fmt.Errorf("verify template %s: %w", found.Ref(), err)
	}
	return found, sealed.Diff(now), nil
}

func readManifest(path string) (manifest.Manifest, error) {
	f, err := os.Open(path)
	if err != nil {
		return manifest.Manifest{}, err
	}
	defer f.Close()
	return manifest.Parse(f)
}

// Remove removes a version, or without one all versions of a template. It refuses
// with [ErrInUse] where used says that somebody has need of one of them; until
// Remove returns nobody may begin to use one. They are gone then, and clear frees
// the disk.
func (t *Templates) Remove(ref string, used func(Template) bool) (clear func() error, err error) {
	_, version, err := splitRef(ref)
	if err != nil {
		return nil, err
	}
	going, err := t.all(ref)
	if err != nil {
		return nil, err
	}
	if version != "" {
		going = slices.DeleteFunc(going, func(one Template) bool { return one.Version != version })
	}
	if len(going) == 0 {
		return nil, t.unknown(ref)
	}
	for _, one := range going {
		switch {
		case !strings.HasPrefix(one.Path, t.cfg.Dir+"/"):
			return nil, invalid("template %q is the folder %s, which is not ours to remove", one.Name, one.Path)
		case used(one):
			return nil, &kindError{ErrInUse, fmt.Sprintf("template %s is in use: stop the procs that run on it first", one.Ref())}
		}
	}
	return t.takeOut(going)
}

// Prune removes all versions that are not current and that nobody uses, as Remove
// does, and tells which.
func (t *Templates) Prune(used func(Template) bool) (gone []Template, clear func() error, err error) {
	names, err := t.names()
	if err != nil {
		return nil, nil, err
	}
	gone = []Template{}
	for _, name := range names {
		all, err := t.all(name)
		if err != nil {
			continue // no template
		}
		for _, one := range all[1:] {
			if !used(one) {
				gone = append(gone, one)
			}
		}
	}
	clear, err = t.takeOut(gone)
	return gone, clear, err
}

// takeOut renames versions away, and returns what discards them. Where the current
// one is among them the newest of the others takes its place.
func (t *Templates) takeOut(going []Template) (clear func() error, err error) {
	var aside []string
	clear = func() error { return t.discardAll(aside) }
	if len(going) == 0 {
		return clear, nil
	}
	unlock, err := t.lockStore()
	if err != nil {
		return nil, err
	}
	defer unlock()
	for _, one := range going {
		into, err := os.MkdirTemp(t.cfg.Dir, gonePrefix)
		if err != nil {
			return nil, errors.Join(err, clear())
		}
		aside = append(aside, filepath.Base(into))
		if err := os.Rename(filepath.Join(t.cfg.Dir, one.Name, one.Version), filepath.Join(into, treeName)); err != nil {
			return nil, errors.Join(err, clear())
		}
		failpoint.Hit("template.gone")
		if _, err := t.repoint(one.Name); err != nil {
			return nil, errors.Join(err, clear())
		}
	}
	return clear, syncFolder(t.cfg.Dir)
}

// discardAll removes folders of the store.
func (t *Templates) discardAll(names []string) error {
	store, err := os.Open(t.cfg.Dir)
	if err != nil {
		return absent(err)
	}
	defer store.Close()
	for _, name := range names {
		err = errors.Join(err, discard(store, name))
	}
	return err
}

// repoint makes the newest version the current one where the current one is not
// there, and tells which. The last version has taken the name with it. The caller
// holds the store.
func (t *Templates) repoint(name string) (newest string, err error) {
	dir := filepath.Join(t.cfg.Dir, name)
	if err := os.Remove(filepath.Join(dir, currentNewName)); err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ENOTDIR) {
		return "", err // whoever was about to rename it was killed
	}
	current, err := currentVersion(dir)
	if err == nil {
		if _, err = readTemplateRecord(filepath.Join(dir, current)); err == nil {
			return "", nil
		}
	}
	if !errors.Is(err, errAbsent) || isTree(dir) {
		return "", nil // a plain folder, or damaged: not ours to guess
	}
	versions, err := t.versions(name)
	if err != nil {
		return "", err
	}
	if len(versions) == 0 {
		if err := os.Remove(filepath.Join(dir, currentName)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
		return "", absent(os.Remove(dir))
	}
	newest = slices.MaxFunc(versions, func(a, b string) int {
		x, _ := readTemplateRecord(filepath.Join(dir, a))
		y, _ := readTemplateRecord(filepath.Join(dir, b))
		return x.Created.Compare(y.Created)
	})
	return newest, point(dir, newest)
}
