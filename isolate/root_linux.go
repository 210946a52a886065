package isolate

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// mountRoot mounts the overlay over an idmapped view of the template. The view
// lies below the overlay, at the same place: before Linux 6.15 a layer must be
// attached in the caller's mount namespace (clone_private_mount in
// fs/namespace.c).
func (b *builder) mountRoot(s MountRoot) error {
	at, err := unix.Open(b.at, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: b.at, Err: err}
	}
	defer unix.Close(at)
	lower, err := cloneMount(unix.AT_FDCWD, s.Lower, ReadOnly, b.userns)
	if err != nil {
		return idmapError(s.Lower, err)
	}
	defer unix.Close(lower)
	if err := attach(lower, at); err != nil {
		return err
	}
	options := []string{"lowerdir=" + fdPath(lower)}
	for key, path := range map[string]string{"upperdir": s.Upper, "workdir": s.Work} {
		dir, err := unix.Open(path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return &os.PathError{Op: "open", Path: path, Err: err}
		}
		defer unix.Close(dir)
		options = append(options, key+"="+fdPath(dir)) // the sandbox's mountinfo shows this, not where it is
	}
	options = append(options, s.Options...)
	root, err := newMount("overlay", options, s.Flags)
	if err != nil {
		return err
	}
	b.root = root
	return attach(root, at)
}

// bindRoot mounts an idmapped view of the tree on the tree.
func (b *builder) bindRoot(s BindRoot) error {
	at, err := unix.Open(b.at, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: b.at, Err: err}
	}
	defer unix.Close(at)
	root, err := cloneMount(unix.AT_FDCWD, s.Source, s.Flags, b.userns)
	if err != nil {
		return idmapError(s.Source, err)
	}
	b.root = root
	return attach(root, at)
}

// idmapError says why a tree may have refused to be idmapped.
func idmapError(path string, err error) error {
	if errors.Is(err, unix.EINVAL) {
		return &StepError{"idmap " + path, errors.New("its file system cannot be idmapped (ext4, xfs and btrfs can, tmpfs since Linux 6.3)")}
	}
	return &StepError{"idmap " + path, err}
}
