package rootfs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gilliam/hypervisor/isolate"
)

// DefaultTemplate is the template that "" stands for.
const DefaultTemplate = "default"

// TemplatesConfig says where the templates are.
type TemplatesConfig struct {
	// Default is what "default" stands for: the path of a folder, or the name
	// of a template in Dir. Empty means the template of that name in Dir,
	// and where there is none Folder.
	Default string

	// Folder is a root file system that is the default template where nothing
	// else is. Empty means none.
	Folder string

	// Builtin is a template that the program carries. Nil means none.
	Builtin *Builtin

	// Dir is the store; see the package's doc. Empty means that there is none.
	Dir string

	// RunUser is the name of the user that apps run as, looked up in the
	// template's own /etc/passwd. Empty means gilliam.
	RunUser string
}

// A Template is a root file system that sandboxes share and never write to.
type Template struct {
	Name     string       `json:"name"`
	Path     string       `json:"path"`
	OS       string       `json:"os"` // PRETTY_NAME of os-release(5), empty when there is none
	User     isolate.User `json:"user"`
	UserName string       `json:"user_name"`
	Home     string       `json:"home"`
	Created  time.Time    `json:"created"` // when it was sealed; of a plain folder, when that was made

	// What follows is of sealed templates only.

	Version string `json:"version,omitempty"`
	Hash    string `json:"hash,omitempty"` // of the whole tree; see package manifest
	Source  string `json:"source,omitempty"`
	Files   int    `json:"files,omitempty"`
	Bytes   int64  `json:"bytes,omitempty"`
}

// Sealed tells whether the template is one of the store, which never changes. What
// is not is a plain folder that somebody keeps for us.
func (t Template) Sealed() bool { return t.Version != "" }

// Ref names exactly this template: NAME@VERSION, or the name of a plain folder.
func (t Template) Ref() string {
	if !t.Sealed() {
		return t.Name
	}
	return t.Name + "@" + t.Version
}

// Templates finds templates and takes new ones over.
type Templates struct {
	cfg   TemplatesConfig
	owner int    // who a template must belong to; tests that are not root change it
	host  string // where /etc of the host is; tests change it

	unpacking sync.Mutex // the built-in one
}

// OpenTemplates makes no folder and reads none: a template may come later.
func OpenTemplates(cfg TemplatesConfig) *Templates {
	if cfg.RunUser == "" {
		cfg.RunUser = "gilliam"
	}
	return &Templates{cfg: cfg, host: "/"}
}

// errAbsent is a template that is not there, before it is said which ones are.
var errAbsent = errors.New("absent")

// Get finds a template by NAME or NAME@VERSION and checks that it is usable. The
// empty name stands for "default". The error is an [ErrInvalid] or an
// [ErrNotExist].
func (t *Templates) Get(ref string) (Template, error) {
	found, err := t.find(ref)
	if errors.Is(err, errPacked) {
		if err = t.unpackBuiltin(); err == nil {
			found, err = t.find(ref)
		}
	}
	if err == nil {
		found, err = t.usable(found)
	}
	if errors.Is(err, errAbsent) {
		err = t.unknown(ref)
	}
	return found, err
}

// find finds a template, usable or not, as far as the store knows it.
func (t *Templates) find(ref string) (Template, error) {
	name, version, err := splitRef(ref)
	if err != nil {
		return Template{}, err
	}
	if name == DefaultTemplate && version == "" {
		return t.findDefault()
	}
	return t.stored(name, version)
}

// CheckTemplateRef tells whether ref could be a template: NAME, NAME@VERSION, or
// nothing, which stands for the default one. The error is an [ErrInvalid].
func CheckTemplateRef(ref string) error {
	_, _, err := splitRef(ref)
	return err
}

// splitRef takes NAME@VERSION apart.
func splitRef(ref string) (name, version string, err error) {
	name, version, pinned := strings.Cut(ref, "@")
	switch {
	case ref == "":
		return DefaultTemplate, "", nil
	case !templateName.MatchString(name):
		return "", "", invalid("template name %s: must be 1 to 63 characters of a-z, 0-9, '.', '_' and '-', and start with a letter or a digit", quote(name))
	case pinned && !templateVersion.MatchString(version):
		return "", "", invalid("template version %s: must be %d characters of 0-9 and a-f, as \"hypervisor template ls\" shows it", quote(version), versionLen)
	}
	return name, version, nil
}

// findDefault is what "default" stands for.
func (t *Templates) findDefault() (Template, error) {
	switch {
	case t.defaultFolder() != "":
		return Template{Name: DefaultTemplate, Path: t.cfg.Default}, nil
	case t.cfg.Default != "" && t.cfg.Default != DefaultTemplate:
		return t.find(t.cfg.Default)
	}
	found, err := t.stored(DefaultTemplate, "")
	if errors.Is(err, errAbsent) && t.cfg.Folder != "" && isTree(t.cfg.Folder) {
		return Template{Name: DefaultTemplate, Path: t.cfg.Folder}, nil
	}
	if errors.Is(err, errAbsent) && t.cfg.Builtin != nil {
		return t.stored(t.cfg.Builtin.Name, "")
	}
	return found, err
}

// defaultFolder is the folder that the default template is said to be, if it is
// said to be one.
func (t *Templates) defaultFolder() string {
	if strings.ContainsRune(t.cfg.Default, '/') {
		return t.cfg.Default
	}
	return ""
}

// stored is a template in Dir; without a version it is the current one.
func (t *Templates) stored(name, version string) (Template, error) {
	if t.cfg.Dir == "" {
		return Template{}, errAbsent
	}
	dir := filepath.Join(t.cfg.Dir, name)
	if t.isBuiltin(name) && (version == "" || version == versionOf(t.cfg.Builtin.Hash)) {
		return t.storedBuiltin(dir)
	}
	if version == "" {
		var err error
		version, err = currentVersion(dir)
		if errors.Is(err, errAbsent) && isTree(dir) { // as hypervisors before this one kept them
			return Template{Name: name, Path: dir}, nil
		}
		if err != nil {
			return Template{}, err
		}
	}
	rec, err := readTemplateRecord(filepath.Join(dir, version))
	return Template{
		Name: name, Path: filepath.Join(dir, version, treeName), Created: rec.Created,
		Version: version, Hash: rec.Hash, Source: rec.Source, Files: rec.Files, Bytes: rec.Bytes,
	}, err
}

// storedBuiltin is the built-in template, which is the current version of its name
// whatever another hypervisor may have had built in.
func (t *Templates) storedBuiltin(dir string) (Template, error) {
	found := t.cfg.Builtin.template()
	rec, err := readTemplateRecord(filepath.Join(dir, found.Version))
	if errors.Is(err, errAbsent) {
		return found, errPacked
	}
	found.Path, found.Created, found.Files, found.Bytes = filepath.Join(dir, found.Version, treeName), rec.Created, rec.Files, rec.Bytes
	return found, err
}

// isTree tells whether dir looks like a root file system.
func isTree(dir string) bool {
	_, err := os.Lstat(filepath.Join(dir, "etc"))
	return err == nil
}

// unknown says that a template is not there, which ones are, and how to make it.
func (t *Templates) unknown(ref string) error {
	if ref == "" {
		ref = DefaultTemplate
	}
	name, _, _ := strings.Cut(ref, "@")
	text := fmt.Sprintf("template %q does not exist", ref)
	if dir := t.defaultFolder(); dir != "" && ref == DefaultTemplate {
		text += " at " + dir
	}
	if list, err := t.List(); err == nil && len(list) > 0 {
		var names []string
		for _, one := range list {
			names = append(names, one.Ref())
		}
		text += " (there is " + strings.Join(names, ", ") + ")"
	}
	if t.isBuiltin(name) {
		return &kindError{ErrNotExist, text}
	}
	text += fmt.Sprintf(": make it with \"hypervisor template build %s\" of Debian packages, or with \"hypervisor template import %[1]s "+
		"DIR|TAR|IMAGE\" of what you have", name)
	return &kindError{ErrNotExist, text}
}

// List is the current version of every usable template, the default one first and
// the others by name. What is not usable is left out; [Templates.Get] says why.
func (t *Templates) List() ([]Template, error) {
	names, err := t.names()
	if err != nil {
		return nil, err
	}
	list := []Template{}
	add := func(one Template, err error) {
		if err == nil {
			one, err = t.usable(one)
		}
		packed := errors.Is(err, errPacked) // as good as there
		if (err == nil || packed) && !slices.ContainsFunc(list, func(o Template) bool { return o.Name == one.Name }) {
			list = append(list, one)
		}
	}
	add(t.findDefault())
	for _, name := range names {
		add(t.stored(name, ""))
	}
	if b := t.cfg.Builtin; b != nil {
		add(t.stored(b.Name, ""))
	}
	return list, nil
}

// names are those of the folders in Dir.
func (t *Templates) names() (names []string, err error) {
	if t.cfg.Dir == "" {
		return nil, nil
	}
	entries, err := os.ReadDir(t.cfg.Dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, e := range entries {
		if templateName.MatchString(e.Name()) {
			names = append(names, e.Name())
		}
	}
	return names, nil
}
