package isolate

import (
	"errors"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// mountRoot mounts the overlay over idmapped views of its lower layers. Each view
// lies over its own folder: before Linux 6.15 a layer must be attached in the
// caller's mount namespace (clone_private_mount in fs/namespace.c).
//
// It is mount(2) that mounts it, by the descriptors of all folders: fsconfig(2)
// takes 256 bytes of a value, and lower layers one by one only since Linux 6.7,
// where mount(2) takes a page, in which are 500 layers. The sandbox's mountinfo
// shows those numbers, not where anything is.
func (b *builder) mountRoot(s MountRoot) error {
	var open []int
	defer func() {
		for _, fd := range open {
			unix.Close(fd)
		}
	}()
	folder := func(path string) (string, error) {
		fd, err := unix.Open(path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return "", &os.PathError{Op: "open", Path: path, Err: err}
		}
		open = append(open, fd)
		return strconv.Itoa(fd), nil
	}
	at, err := folder(b.at)
	if err != nil {
		return err
	}
	lowers := make([]string, 0, len(s.Lowers))
	for _, path := range s.Lowers {
		view, err := b.view(path)
		if err != nil {
			return err
		}
		open = append(open, view)
		lowers = append(lowers, strconv.Itoa(view))
	}
	upper, err := folder(s.Upper)
	if err != nil {
		return err
	}
	work, err := folder(s.Work)
	if err != nil {
		return err
	}
	options := append([]string{"lowerdir=" + strings.Join(lowers, ":"), "upperdir=" + upper, "workdir=" + work}, s.Options...)
	if err := unix.Chdir("/proc/thread-self/fd"); err != nil {
		return &os.PathError{Op: "chdir", Path: "/proc/thread-self/fd", Err: err}
	}
	if err := unix.Mount(noSource, at, "overlay", uintptr(s.Flags.ms()), strings.Join(options, ",")); err != nil {
		return err
	}
	b.root, err = unix.Open(b.at, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	return err
}

// view attaches an idmapped read-only view of a folder over the folder itself.
func (b *builder) view(path string) (int, error) {
	at, err := unix.Open(path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, &os.PathError{Op: "idmap", Path: path, Err: err}
	}
	defer unix.Close(at)
	view, err := cloneMount(at, "", ReadOnly, b.userns)
	if err != nil {
		return -1, idmapError(path, err)
	}
	if err := attach(view, at); err != nil {
		unix.Close(view)
		return -1, &StepError{"attach a view of " + path, err}
	}
	return view, nil
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
