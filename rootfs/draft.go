package rootfs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gilliam/hypervisor/isolate/failpoint"
	"github.com/gilliam/hypervisor/rootfs/manifest"
	"github.com/gilliam/hypervisor/rootfs/workdir"
)

// A Draft is a root file system that is being made into a template:
//
//	d, err := ts.Draft("bookworm")
//	defer d.Discard()
//	… fill d.Dir …
//	t, err := d.Seal(ctx, rootfs.SealOptions{Source: "debian bookworm"})
//
// Nobody else sees it until it is sealed; what a crash leaves of it is removed by
// the next start of a hypervisor.
type Draft struct {
	// Dir is the root of the tree, an empty folder of root's at first. It is on
	// the file system that the template will be on.
	Dir string

	t       *Templates
	name    string
	staging string // holds Dir, and later what is known of it; "" once it is discarded
	work    *workdir.Dir
}

// SealOptions say what belongs to a template beside its tree.
type SealOptions struct {
	// Source says in a few words what the tree was made of, for people.
	Source string

	AdoptOptions

	// Want is the hash that the tree must have. Empty means any.
	Want string

	// Read is told of every so many bytes of the tree that were hashed, by
	// several goroutines at once. Nil means no one.
	Read func(bytes int)
}

// Draft begins a new version of the template of that name, or the default
// template's folder where that is one ([TemplatesConfig.Default]).
func (t *Templates) Draft(name string) (*Draft, error) {
	if err := t.mayDraft(name); err != nil {
		return nil, err
	}
	return t.newDraft(name)
}

func (t *Templates) newDraft(name string) (_ *Draft, err error) {
	in := t.cfg.Dir
	if t.isFolder(name) {
		in = filepath.Dir(t.cfg.Default)
		if err := privateParent(t.cfg.Default); err != nil {
			return nil, err
		}
	} else {
		unlock, err := t.lockStore() // so that nobody takes it for a leftover before it is locked
		if err != nil {
			return nil, err
		}
		defer unlock()
	}
	work, err := workdir.Make(in, draftPrefix)
	if err != nil {
		return nil, err
	}
	d := &Draft{Dir: filepath.Join(work.Path, treeName), t: t, name: name, staging: work.Path, work: work}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.Discard())
		}
	}()
	if err := os.Mkdir(d.Dir, 0o755); err != nil {
		return nil, err
	}
	failpoint.Hit("template.begun")
	return d, os.Chmod(d.Dir, 0o755)
}

// mayDraft tells whether a template of that name may be made.
func (t *Templates) mayDraft(name string) error {
	if strings.ContainsRune(name, '@') {
		return invalid("template name %s: versions are named by what is in them: leave out the @ and what follows", quote(name))
	}
	if name == "" {
		return invalid("template name: must not be empty")
	}
	if _, _, err := splitRef(name); err != nil {
		return err
	}
	if t.isBuiltin(name) {
		return &kindError{ErrExist, fmt.Sprintf("template %q is built in: choose another name", name)}
	}
	if t.isFolder(name) {
		if _, err := os.Lstat(t.cfg.Default); err == nil {
			return &kindError{ErrExist, fmt.Sprintf("template %q is the folder %s (--template), which is there already: "+
				"choose another name, or remove that one first", name, t.cfg.Default)}
		}
		return nil
	}
	if dir := filepath.Join(t.cfg.Dir, name); t.cfg.Dir != "" && isTree(dir) {
		return &kindError{ErrExist, fmt.Sprintf("template %q is the plain folder %s: choose another name, or remove that one first", name, dir)}
	}
	return nil
}

// isFolder tells whether name stands for a plain folder outside the store.
func (t *Templates) isFolder(name string) bool {
	return name == DefaultTemplate && t.defaultFolder() != ""
}

// Discard removes the draft, if it was not sealed.
func (d *Draft) Discard() error {
	if d.staging == "" {
		return nil
	}
	err := errors.Join(discardFolders([]string{d.staging}), d.work.Abandon())
	d.staging = ""
	return err
}

// Seal makes the tree the current version of its template, for ever as it is now.
// The user that apps run as and /app are added where they are missing. When it
// fails the draft stays, to be discarded.
func (d *Draft) Seal(ctx context.Context, opt SealOptions) (Template, error) {
	if err := d.t.furnish(ctx, d.Dir, opt.AdoptOptions); err != nil {
		return Template{}, fmt.Errorf("seal template %s: %w", d.name, err)
	}
	failpoint.Hit("template.furnished")
	if d.t.isFolder(d.name) {
		err := flushTree(d.Dir)
		if err == nil {
			err = move(d.Dir, d.t.cfg.Default)
		}
		if err != nil {
			return Template{}, fmt.Errorf("seal template %s: %w", d.name, err)
		}
		return d.t.Get(d.name)
	}
	rec, err := d.t.describe(ctx, d.name, d.Dir, d.staging, opt)
	if err != nil {
		return Template{}, fmt.Errorf("seal template %s: %w", d.name, err)
	}
	unlock, err := d.t.lockStore()
	if err != nil {
		return Template{}, err
	}
	defer unlock()
	if err := d.t.publish(d.staging, rec); err != nil {
		return Template{}, fmt.Errorf("publish template %s: %w", d.name, err)
	}
	return d.t.Get(rec.Name + "@" + rec.Version)
}

// describe lists the tree and writes beside it what is known of it, the record
// last of all: where there is one, the draft is complete and on the disk.
func (t *Templates) describe(ctx context.Context, name, tree, staging string, opt SealOptions) (templateRecord, error) {
	m, err := manifest.Scan(ctx, tree, opt.Read)
	if err != nil {
		return templateRecord{}, err
	}
	if opt.Want != "" && m.Hash() != opt.Want {
		return templateRecord{}, fmt.Errorf("its hash is %s, and should be %s", m.Hash(), opt.Want)
	}
	rec := templateRecord{
		Name: name, Version: versionOf(m.Hash()), Hash: m.Hash(), Source: opt.Source, Created: time.Now().UTC(),
		Files: m.Stats().Files, Bytes: m.Stats().Bytes,
	}
	root, err := os.OpenRoot(staging)
	if err != nil {
		return rec, err
	}
	defer root.Close()
	list, err := root.OpenFile(manifestName, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return rec, err
	}
	_, err = m.WriteTo(list)
	if err := errors.Join(err, list.Close(), flush(root)); err != nil {
		return rec, err
	}
	failpoint.Hit("template.listed")
	b, err := json.MarshalIndent(rec, "", "  ")
	if err != nil {
		return rec, err
	}
	if err := replaceTreeFile(root, templateRecordName, append(b, '\n'), 0o600); err != nil {
		return rec, err
	}
	failpoint.Hit("template.sealed")
	return rec, nil
}

// versionOf names the version whose tree has this hash.
func versionOf(hash string) string {
	return strings.TrimPrefix(hash, "sha256:")[:versionLen]
}
