package manifest

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// Xattrs reads the extended attributes (xattr(7)) of the file at path that
// belong to the file itself. A link is not followed.
func Xattrs(path string) (map[string]string, error) {
	list := make([]byte, 1024)
	n, err := unix.Llistxattr(path, list)
	if errors.Is(err, unix.ERANGE) {
		list = make([]byte, 64<<10) // XATTR_LIST_MAX
		n, err = unix.Llistxattr(path, list)
	}
	if errors.Is(err, unix.ENOTSUP) || n == 0 && err == nil {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var found map[string]string
	for name := range strings.SplitSeq(strings.TrimSuffix(string(list[:n]), "\x00"), "\x00") {
		if !Keeps(name) {
			continue
		}
		value := make([]byte, 64<<10) // XATTR_SIZE_MAX
		n, err := unix.Lgetxattr(path, name, value)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if found == nil {
			found = make(map[string]string)
		}
		found[name] = string(value[:n])
	}
	return found, nil
}

// Keeps tells whether an attribute of that name belongs to a file: not so what the
// host's security modules write for themselves, such as security.selinux.
func Keeps(name string) bool {
	return !strings.HasPrefix(name, "security.") || name == "security.capability"
}

// XattrsAt reads those of name in dir, whatever kind of file it is: one that is
// no regular file need not be opened.
func XattrsAt(dir *os.Root, name string) (map[string]string, error) {
	f, err := dir.Open(".")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return Xattrs(fmt.Sprintf("/proc/self/fd/%d/%s", f.Fd(), name))
}
