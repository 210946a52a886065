package rootfs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/gilliam/hypervisor/isolate/failpoint"
)

// AdoptOptions say what else a template gets from this host.
type AdoptOptions struct {
	// ResolvConf copies the content of the host's /etc/resolv.conf. If false
	// (the default), the template's own stays.
	ResolvConf bool

	// AptSources copies the host's /etc/apt/sources.list and sources.list.d,
	// which every tenant can then read. If false (the default), the
	// template's own stay.
	AptSources bool
}

// Adopt makes a template of dir, a folder with a root file system such as
// debootstrap leaves: it does what the original's README did by hand, then moves
// the tree to where the template belongs, in one rename. Everything in the tree
// is reached through an [os.Root], so that its links lead nowhere outside.
//
// It becomes a new version of its template, or the folder that the default
// template is said to be. Such a folder is usable from the moment its /etc/passwd
// has the run user, which is therefore the last thing written; when dir already
// is the template's place, it stays there. Adopting a second time changes nothing.
// When Adopt fails, dir stays where it is and can be adopted again.
func (t *Templates) Adopt(ctx context.Context, name, dir string, opt AdoptOptions) (Template, error) {
	if name == "" {
		name = DefaultTemplate
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return Template{}, err
	}
	if t.isFolder(name) {
		return t.adoptFolder(ctx, name, dir, opt)
	}
	if err := mustBeFolder(dir); err != nil {
		return Template{}, err
	}
	draft, err := t.Draft(name)
	if err != nil {
		return Template{}, err
	}
	found, err := draft.adopt(ctx, dir, opt)
	return found, errors.Join(err, draft.Discard())
}

// adopt seals the tree in dir instead of what the draft holds. The tree moves once
// all that is known of it is written, so that a crash never takes it with the
// draft: with its record beside it, a draft is complete.
func (d *Draft) adopt(ctx context.Context, dir string, opt AdoptOptions) (Template, error) {
	if err := d.t.furnish(ctx, dir, opt); err != nil {
		return Template{}, fmt.Errorf("adopt %s: %w", dir, err)
	}
	if err := os.Remove(d.Dir); err != nil {
		return Template{}, err
	}
	rec, err := d.t.describe(ctx, d.name, dir, d.staging, SealOptions{Source: "folder " + dir})
	if err != nil {
		return Template{}, fmt.Errorf("adopt %s: %w", dir, err)
	}
	unlock, err := d.t.lockStore()
	if err != nil {
		return Template{}, err
	}
	defer unlock()
	if err := move(dir, d.Dir); err != nil {
		return Template{}, fmt.Errorf("adopt %s: %w", dir, err)
	}
	failpoint.Hit("template.adopted")
	if err := d.t.publish(d.staging, rec); err != nil {
		return Template{}, errors.Join(fmt.Errorf("adopt %s: %w", dir, err), absent(renameNew(d.Dir, dir)))
	}
	return d.t.Get(rec.Name + "@" + rec.Version)
}

// adoptFolder makes dir the folder that the default template is.
func (t *Templates) adoptFolder(ctx context.Context, name, dir string, opt AdoptOptions) (Template, error) {
	target := t.cfg.Default
	inPlace, err := vacant(name, dir, target)
	if err != nil {
		return Template{}, err
	}
	if err := privateParent(target); err != nil {
		return Template{}, err
	}
	if err := t.furnish(ctx, dir, opt); err != nil {
		return Template{}, fmt.Errorf("adopt %s: %w", dir, err)
	}
	if err := flushTree(dir); err != nil {
		return Template{}, fmt.Errorf("adopt %s: %w", dir, err)
	}
	if !inPlace {
		if err := move(dir, target); err != nil {
			return Template{}, fmt.Errorf("adopt %s: %w", dir, err)
		}
	}
	return t.Get(name)
}

// mustBeFolder refuses what is not there, or is something else.
func mustBeFolder(dir string) error {
	fi, err := os.Stat(dir)
	if err != nil {
		return &kindError{ErrNotExist, fmt.Sprintf("adopt: %v: make it first, for instance with "+
			"\"debootstrap --variant=minbase bookworm %s\"", err, dir)}
	}
	if !fi.IsDir() {
		return invalid("adopt %s: not a folder", dir)
	}
	return nil
}

// vacant tells whether dir already is the target, and refuses a target that
// is something else.
func vacant(name, dir, target string) (inPlace bool, err error) {
	if err := mustBeFolder(dir); err != nil {
		return false, err
	}
	from, err := os.Stat(dir)
	if err != nil {
		return false, err
	}
	to, err := os.Stat(target)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if !os.SameFile(from, to) {
		return false, &kindError{ErrExist, fmt.Sprintf("adopt %s: template %q is already at %s: choose another name, or remove that one first", dir, name, target)}
	}
	return true, nil
}

// privateParent makes the folder that the template stands in, open to root
// alone: otherwise every user of the host could run the template's setuid
// programs, which no one updates with the host's. A folder that is there is not
// changed, for others may have business in it.
func privateParent(target string) error {
	parent := filepath.Dir(target)
	fi, err := os.Stat(parent)
	if errors.Is(err, fs.ErrNotExist) {
		return os.MkdirAll(parent, 0o700)
	}
	if err != nil {
		return err
	}
	if fi.Mode().Perm()&0o077 != 0 {
		return invalid("adopt: %s is open to other users (mode %04o), who could run the template's setuid programs: "+
			"chmod 0700 %s, or choose a folder of its own for templates", parent, fi.Mode().Perm(), parent)
	}
	return nil
}

// furnish turns the tree into a template, last of all by the run user's line
// in its passwd.
func (t *Templates) furnish(ctx context.Context, dir string, opt AdoptOptions) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	steps := []func(*os.Root) error{finished, t.claim}
	if opt.ResolvConf {
		steps = append(steps, t.copyResolvConf)
	}
	if opt.AptSources {
		steps = append(steps, t.copyAptSources)
	}
	steps = append(steps, makeApp, forgetHost, flush, t.addUser)
	for _, step := range steps {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		if err := step(root); err != nil {
			return err
		}
	}
	return nil
}

// move renames the finished tree into place.
func move(dir, target string) error {
	err := renameNew(dir, target)
	switch {
	case errors.Is(err, syscall.EXDEV):
		return invalid("%s is on another file system than %s: run debootstrap into a folder in %s", dir, target, filepath.Dir(target))
	case errors.Is(err, fs.ErrExist):
		return &kindError{ErrExist, fmt.Sprintf("%s already exists", target)}
	case err != nil:
		return err
	}
	return syncFolder(filepath.Dir(target))
}
