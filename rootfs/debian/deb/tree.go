package deb

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"regexp"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// A Tree is a root file system that packages are unpacked into. Several may be at
// once.
type Tree struct {
	root *os.File

	mu     sync.Mutex
	owners map[string]*Owner // of what is no folder, by its real path
	lost   []Lost
}

// OpenTree opens the tree in dir.
func OpenTree(dir string) (*Tree, error) {
	root, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	return &Tree{root: root, owners: map[string]*Owner{}}, nil
}

// Close closes it.
func (t *Tree) Close() error { return t.root.Close() }

// merged are the folders of the root that are links to those of /usr.
var merged = regexp.MustCompile(`^(bin|sbin|lib|lib32|lib64|libo32|libx32)$`)

// real is the path that name, absolute, has behind those links.
func real(name string) string {
	first, _, _ := strings.Cut(strings.TrimPrefix(name, "/"), "/")
	if merged.MatchString(first) {
		return "/usr" + name
	}
	return name
}

// merge makes the links for an entry of the root.
func (t *Tree) merge(name string) error {
	first, _, _ := strings.Cut(strings.TrimPrefix(name, "/"), "/")
	if !merged.MatchString(first) {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	fd := int(t.root.Fd())
	var st unix.Stat_t
	if unix.Fstatat(fd, first, &st, unix.AT_SYMLINK_NOFOLLOW) == nil {
		return nil
	}
	for _, dir := range []string{"usr", "usr/" + first} {
		err := unix.Mkdirat(fd, dir, 0o755)
		if err == nil {
			err = unix.Fchmodat(fd, dir, 0o755, 0) // whatever our umask
		}
		if err != nil && err != unix.EEXIST {
			return &fs.PathError{Op: "mkdir", Path: "/" + dir, Err: err}
		}
	}
	if err := unix.Symlinkat("usr/"+first, fd, first); err != nil {
		return &fs.PathError{Op: "symlink", Path: "/" + first, Err: err}
	}
	return nil
}

// open opens a file or folder of the tree; links are followed as a process does
// whose root the tree is.
func (t *Tree) open(name string, flags uint64) (int, error) {
	how := unix.OpenHow{
		Flags:   unix.O_CLOEXEC | flags,
		Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS | unix.RESOLVE_NO_XDEV,
	}
	rel := strings.TrimPrefix(name, "/")
	if rel == "" {
		rel = "."
	}
	for {
		fd, err := unix.Openat2(int(t.root.Fd()), rel, &how)
		if err != unix.EINTR && err != unix.EAGAIN {
			return fd, err
		}
	}
}

// folder opens the folder of that name and makes it, and those above it, where
// they are missing: a package should bring the folders of its files, and some do
// not.
func (t *Tree) folder(name string) (int, error) {
	fd, err := t.open(name, unix.O_PATH|unix.O_DIRECTORY)
	if err != unix.ENOENT || name == "/" {
		return fd, err
	}
	up, err := t.folder(path.Dir(name))
	if err != nil {
		return -1, err
	}
	defer unix.Close(up)
	err = unix.Mkdirat(up, path.Base(name), 0o755)
	if err == nil {
		err = unix.Fchmodat(up, path.Base(name), 0o755, 0) // whatever our umask
	}
	if err != nil && err != unix.EEXIST {
		return -1, err
	}
	return t.open(name, unix.O_PATH|unix.O_DIRECTORY)
}

// An overwriteError is a file that two packages bring.
type overwriteError struct{ name, pkg, other string }

func (e *overwriteError) Error() string {
	return fmt.Sprintf("%s of package %s is also in package %s, and neither replaces the other", e.name, e.pkg, e.other)
}
