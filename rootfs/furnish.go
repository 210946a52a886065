package rootfs

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"syscall"
)

// The steps by which a tree becomes a template. Each can be done again.

// finished refuses a tree that debootstrap has not completed, or in which
// something is still mounted.
func finished(root *os.Root) error {
	if _, err := readTreeFile(root, "etc/passwd"); err != nil {
		return invalid("%v: is it a root file system?", err)
	}
	if _, err := root.Lstat("debootstrap"); err == nil {
		return invalid("debootstrap has not finished in it: see debootstrap/debootstrap.log in it, and begin again")
	}
	top, err := root.Lstat(".")
	if err != nil {
		return err
	}
	for _, name := range []string{"proc", "sys", "dev", "dev/pts", "run"} {
		if fi, err := root.Lstat(name); err == nil && device(fi) != device(top) {
			return invalid("something is still mounted at %s in it: umount it first", name)
		}
	}
	return nil
}

// claim gives the top folder the owner and the mode of a root directory.
func (t *Templates) claim(root *os.Root) error {
	top, err := root.Open(".")
	if err != nil {
		return err
	}
	defer top.Close()
	fi, err := top.Stat()
	if err != nil {
		return err
	}
	if uid, _ := owner(fi); uid != t.owner {
		return invalid("belongs to uid %d: must be root's", uid)
	}
	return top.Chmod(0o755)
}

func (t *Templates) copyResolvConf(root *os.Root) error {
	b, err := t.readHostFile("etc/resolv.conf")
	if err != nil {
		return err
	}
	return replaceTreeFile(root, "etc/resolv.conf", b, 0o644)
}

// password is what a URL with a password in it looks like.
var password = regexp.MustCompile(`://[^/\s]*@`)

// copyAptSources copies sources.list(5) and its folder. When the host has only
// the folder, the template's own list would name the same archives twice.
func (t *Templates) copyAptSources(root *os.Root) error {
	const list = "etc/apt/sources.list"
	names := []string{}
	for _, pattern := range []string{list, list + ".d/*.list", list + ".d/*.sources"} {
		found, err := filepath.Glob(filepath.Join(t.host, pattern))
		if err != nil {
			return err
		}
		names = append(names, found...)
	}
	if len(names) == 0 {
		return nil
	}
	if err := root.MkdirAll(list+".d", 0o755); err != nil {
		return err
	}
	if names[0] != filepath.Join(t.host, list) {
		if err := root.Remove(list); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	for _, path := range names {
		name, err := filepath.Rel(t.host, path)
		if err != nil {
			return err
		}
		b, err := t.readHostFile(name)
		if err != nil {
			return err
		}
		if password.Match(b) {
			return invalid("%s holds a password, which every app could read: move it to apt_auth.conf(5), or adopt without the apt sources", path)
		}
		if err := replaceTreeFile(root, name, b, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// readHostFile reads a file of the host, links and all.
func (t *Templates) readHostFile(name string) ([]byte, error) {
	f, err := os.OpenFile(filepath.Join(t.host, name), os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readBounded(f, f.Name())
}

// makeApp makes /app, where images appear and which is the run user's home.
func makeApp(root *os.Root) error {
	err := root.Mkdir("app", 0o755)
	if err == nil {
		return root.Chmod("app", 0o755)
	}
	if fi, e := root.Lstat("app"); e == nil && fi.IsDir() {
		return nil
	}
	return err
}

// forgetHost removes what debootstrap has left of this host or of the moment:
// the machine-id(5), which must not be the same in every sandbox, and the name.
func forgetHost(root *os.Root) error {
	if _, err := root.Lstat("etc/machine-id"); err == nil {
		if err := replaceTreeFile(root, "etc/machine-id", nil, 0o444); err != nil {
			return err
		}
	}
	if err := root.Remove("etc/hostname"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// addUser adds the run user, home /app, to the files that have a say in it.
// Passwd comes last: it is what makes the template usable.
func (t *Templates) addUser(root *os.Root) error {
	if !userName.MatchString(t.cfg.RunUser) {
		return invalid("user name %s: must be 1 to 32 characters of a-z, 0-9, '_' and '-', and not start with a digit", quote(t.cfg.RunUser))
	}
	var old accounts
	files := []struct {
		name string
		old  *[]byte
		mode fs.FileMode
	}{
		{"etc/gshadow", &old.gshadow, 0o640},
		{"etc/shadow", &old.shadow, 0o640},
		{"etc/group", &old.group, 0o644},
		{"etc/passwd", &old.passwd, 0o644},
	}
	for _, f := range files {
		b, err := readTreeFile(root, f.name)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		*f.old = b
	}
	now, err := old.add(t.cfg.RunUser, "/app")
	if err != nil {
		return invalid("%v", err)
	}
	for n, b := range [][]byte{now.gshadow, now.shadow, now.group, now.passwd} {
		if string(b) == string(*files[n].old) {
			continue
		}
		if err := replaceTreeFile(root, files[n].name, b, files[n].mode); err != nil {
			return err
		}
	}
	return nil
}

// flushTree puts the tree in dir on the disk.
func flushTree(dir string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	return errors.Join(flush(root), root.Close())
}

// flush puts the tree on the disk.
func flush(root *os.Root) error {
	top, err := root.Open(".")
	if err != nil {
		return err
	}
	defer top.Close()
	return syncTree(top)
}
