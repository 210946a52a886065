package rootfs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/gilliam/hypervisor/isolate"
)

// usable adds what a sandbox needs to know of the tree, and refuses one that is
// not fit: its top must be root's alone to change, and it must have the user that
// apps run as, who is not root.
func (t *Templates) usable(one Template) (Template, error) {
	bad := func(format string, args ...any) (Template, error) {
		return Template{}, invalid("template %q at %s: %s", one.Name, one.Path, fmt.Sprintf(format, args...))
	}
	root, err := os.OpenRoot(one.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return Template{}, errAbsent
	}
	if err != nil {
		return bad("%v", err)
	}
	defer root.Close()
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
		return bad("belongs to uid %d: must be root's (chown root:root %s)", uid, one.Path)
	}
	if fi.Mode().Perm()&0o022 != 0 {
		return bad("others may write to it (mode %04o): chmod 0755 %s", fi.Mode().Perm(), one.Path)
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
		return bad("etc/passwd has no user %s: finish it with \"hypervisor template adopt %s %s\"", user, one.Name, one.Path)
	}
	if !one.Sealed() {
		one.Created, ok = birthTime(top)
		if !ok {
			one.Created = fi.ModTime().UTC()
		}
	}
	one.OS, one.User, one.UserName, one.Home = prettyName(root), isolate.User{UID: acc.UID, GID: acc.GID}, user, acc.Home
	return one, nil
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
