package rootfs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gilliam/hypervisor/isolate"
)

// defaultTemplate is the template that "" stands for.
const defaultTemplate = "default"

// TemplatesConfig says where the templates are.
type TemplatesConfig struct {
	// Default is the path of the template named "default". Empty means that
	// it is in Dir like the others.
	Default string

	// Dir holds further templates, one folder each, named by the template.
	// Empty means that there are none.
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
	Created  time.Time    `json:"created"` // when its folder was made
}

// Templates finds templates and takes new ones over.
type Templates struct {
	cfg   TemplatesConfig
	owner int    // who a template must belong to; tests that are not root change it
	host  string // where /etc of the host is; tests change it
}

// OpenTemplates makes no folder and reads none: a template may come later.
func OpenTemplates(cfg TemplatesConfig) *Templates {
	if cfg.RunUser == "" {
		cfg.RunUser = "gilliam"
	}
	return &Templates{cfg: cfg, host: "/"}
}

// Get finds a template by name and checks that it is usable. The empty name
// stands for "default". The error is an [ErrInvalid] or an [ErrNotExist].
func (t *Templates) Get(name string) (Template, error) {
	if name == "" {
		name = defaultTemplate
	}
	dir, err := t.path(name)
	if err != nil {
		return Template{}, err
	}
	root, err := os.OpenRoot(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return Template{}, &kindError{ErrNotExist, fmt.Sprintf("template %q does not exist at %s: "+
			"make the default one with \"sudo make template\", or take over a folder that debootstrap made with "+
			"\"hypervisor template adopt %s DIR\"", name, dir, name)}
	}
	if err != nil {
		return Template{}, invalid("template %q: %v", name, err)
	}
	defer root.Close()
	return t.inspect(root, name, dir)
}

// List is every usable template, the default one first and the others by name.
// What is not usable is left out; [Templates.Get] says why.
func (t *Templates) List() ([]Template, error) {
	names := []string{defaultTemplate}
	if t.cfg.Dir != "" {
		entries, err := os.ReadDir(t.cfg.Dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		for _, e := range entries {
			if templateName.MatchString(e.Name()) && e.Name() != defaultTemplate {
				names = append(names, e.Name())
			}
		}
	}
	list := []Template{}
	for _, name := range names {
		if one, err := t.Get(name); err == nil {
			list = append(list, one)
		}
	}
	return list, nil
}

// path is where a template of that name is or would be.
func (t *Templates) path(name string) (string, error) {
	switch {
	case !templateName.MatchString(name):
		return "", invalid("template name %s: must be 1 to 63 characters of a-z, 0-9, '.', '_' and '-', and start with a letter or a digit", quote(name))
	case name == defaultTemplate && t.cfg.Default != "":
		return t.cfg.Default, nil
	case t.cfg.Dir == "":
		return "", &kindError{ErrNotExist, fmt.Sprintf("template %q does not exist: there is only %q", name, defaultTemplate)}
	}
	return filepath.Join(t.cfg.Dir, name), nil
}

// inspect reads what a sandbox needs to know of the tree, and refuses one that
// is not fit: its top must be root's alone to change, and it must have the user
// that apps run as, who is not root.
func (t *Templates) inspect(root *os.Root, name, dir string) (Template, error) {
	bad := func(format string, args ...any) (Template, error) {
		return Template{}, invalid("template %q at %s: %s", name, dir, fmt.Sprintf(format, args...))
	}
	top, err := root.Open(".")
	if err != nil {
		return bad("%v", err)
	}
	defer top.Close()
	fi, err := top.Stat()
	if err != nil {
		return bad("%v", err)
	}
	if uid, _ := owner(fi); uid != t.owner {
		return bad("belongs to uid %d: must be root's (chown root:root %s)", uid, dir)
	}
	if fi.Mode().Perm()&0o022 != 0 {
		return bad("others may write to it (mode %04o): chmod 0755 %s", fi.Mode().Perm(), dir)
	}
	passwd, err := readTreeFile(root, "etc/passwd")
	if err != nil {
		return bad("%v: is it a root file system?", err)
	}
	user := t.cfg.RunUser
	acc, ok, err := findAccount(passwd, user)
	if err != nil {
		return bad("etc/passwd: %v", err)
	}
	if !ok {
		return bad("etc/passwd has no user %s: finish it with \"hypervisor template adopt %s %s\"", user, name, dir)
	}
	created, ok := birthTime(top)
	if !ok {
		created = fi.ModTime().UTC()
	}
	return Template{
		Name: name, Path: dir, OS: prettyName(root),
		User:     isolate.User{UID: acc.UID, GID: acc.GID},
		UserName: user, Home: acc.Home, Created: created,
	}, nil
}

// prettyName is PRETTY_NAME of os-release(5), without the quotes and the
// backslashes that the shell would remove.
func prettyName(root *os.Root) string {
	b, err := readTreeFile(root, "etc/os-release")
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(b)) {
		v, ok := strings.CutPrefix(strings.TrimSpace(line), "PRETTY_NAME=")
		if !ok {
			continue
		}
		if len(v) > 1 && (v[0] == '"' || v[0] == '\'') && v[len(v)-1] == v[0] {
			v = v[1 : len(v)-1]
		}
		return strings.NewReplacer(`\\`, `\`, `\"`, `"`, `\$`, `$`, "\\`", "`").Replace(v)
	}
	return ""
}
