package isolate

import (
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// attrs are f as mount_setattr(2) wants them.
func (f MountFlags) attrs() int {
	var a int
	for bit, attr := range map[MountFlags]int{
		ReadOnly: unix.MOUNT_ATTR_RDONLY,
		NoSuid:   unix.MOUNT_ATTR_NOSUID,
		NoDev:    unix.MOUNT_ATTR_NODEV,
		NoExec:   unix.MOUNT_ATTR_NOEXEC,
	} {
		if f&bit != 0 {
			a |= attr
		}
	}
	return a
}

// newMount makes a detached mount of a new file system and returns its root
// (fsopen(2), fsconfig(2), fsmount(2)). Options are key or key=value.
func newMount(fstype string, options []string, flags MountFlags) (int, error) {
	fs, err := unix.Fsopen(fstype, unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, err
	}
	defer unix.Close(fs)
	for _, o := range options {
		if key, value, ok := strings.Cut(o, "="); ok {
			err = unix.FsconfigSetString(fs, key, value)
		} else {
			err = unix.FsconfigSetFlag(fs, o)
		}
		if err != nil {
			return -1, &optionError{o, err}
		}
	}
	if err := unix.FsconfigCreate(fs); err != nil {
		return -1, complaint(fs, err)
	}
	return unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, flags.attrs())
}

// newMountOf is [newMount] of what is on a block device that is open.
func newMountOf(device int, fstype string, options []string, flags MountFlags) (int, error) {
	return newMount(fstype, append([]string{"source=/proc/thread-self/fd/" + strconv.Itoa(device)}, options...), flags)
}

// idmap maps a mount's ids to those of a user namespace (mount_setattr(2)).
func idmap(mnt, userns int) error {
	attr := &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_IDMAP, Userns_fd: uint64(userns)}
	if err := unix.MountSetattr(mnt, "", unix.AT_EMPTY_PATH, attr); err != nil {
		return fmt.Errorf("idmap: %w", err)
	}
	return nil
}

// complaint is an error of a file system that could not be made, with what the kernel
// has to say of it: each read of the descriptor is a message, of errors with an e
// before it (Documentation/filesystems/mount_api.rst, "Userspace interface").
func complaint(fs int, err error) error {
	buf := make([]byte, 1024)
	for {
		n, end := unix.Read(fs, buf)
		if end != nil || n <= 0 {
			return err
		}
		if said, ok := strings.CutPrefix(string(buf[:n]), "e "); ok {
			err = fmt.Errorf("%w: %s", err, strings.TrimSpace(said))
		}
	}
}

// An optionError is a mount option that the kernel refused.
type optionError struct {
	option string
	err    error
}

func (e *optionError) Error() string { return "option " + e.option + ": " + e.err.Error() }
func (e *optionError) Unwrap() error { return e.err }

// cloneMount makes a detached copy of the mount at path below dir, without the
// mounts on it (open_tree(2)). An empty path means dir itself. When userns is
// not negative the copy is idmapped to that user namespace (mount_setattr(2)).
func cloneMount(dir int, path string, flags MountFlags, userns int) (int, error) {
	open := uint(unix.OPEN_TREE_CLONE | unix.OPEN_TREE_CLOEXEC)
	if path == "" {
		open |= unix.AT_EMPTY_PATH
	}
	tree, err := unix.OpenTree(dir, path, open)
	if err != nil {
		return -1, err
	}
	attr := &unix.MountAttr{Attr_set: uint64(flags.attrs())}
	if userns >= 0 {
		attr.Attr_set |= unix.MOUNT_ATTR_IDMAP
		attr.Userns_fd = uint64(userns)
	}
	if attr.Attr_set == 0 {
		return tree, nil
	}
	if err := unix.MountSetattr(tree, "", unix.AT_EMPTY_PATH, attr); err != nil {
		unix.Close(tree)
		return -1, err
	}
	return tree, nil
}

// attach puts the detached mount mnt on the file or folder at.
func attach(mnt, at int) error {
	return unix.MoveMount(mnt, "", at, "", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH)
}

// openIn opens path, absolute in the tree whose root is root, as a place to
// mount on or to look at. No symlink is followed on the way (openat2(2)).
func openIn(root int, path string, flags uint64) (int, error) {
	return unix.Openat2(root, relative(path), &unix.OpenHow{
		Flags:   unix.O_PATH | unix.O_CLOEXEC | flags,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS,
	})
}

func relative(path string) string {
	if rel := strings.TrimPrefix(path, "/"); rel != "" {
		return rel
	}
	return "."
}
