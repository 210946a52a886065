package main

import (
	"golang.org/x/sys/unix"

	"github.com/gilliam/hypervisor/isolate/wire"
)

// enterRoot binds the root, the working directory that this process was started
// in, onto itself. The mounts that a new user namespace inherits are locked
// together; only a mount made in it may be pivoted to (mount_namespaces(7),
// "Restrictions on mount namespaces"). No path of the host's is walked: root in
// the sandbox may not enter the folders of the host's root.
func enterRoot(*wire.Setup) error {
	tree, err := unix.OpenTree(unix.AT_FDCWD, ".", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE)
	if err != nil {
		return err
	}
	defer unix.Close(tree)
	if err := unix.MoveMount(tree, "", unix.AT_FDCWD, ".", unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return err
	}
	return unix.Fchdir(tree)
}

// mountProc mounts a procfs of the new pid namespace. It must come before the
// pivot: the kernel allows it in a user namespace only while another, fully
// visible procfs is mounted (mount_too_revealing in fs/namespace.c).
func mountProc(*wire.Setup) error {
	return mountFS("proc", "/proc", unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOEXEC)
}

// mountCgroup shows the sandbox its own cgroup, the root of its cgroup
// namespace, read-only (cgroup_namespaces(7)).
func mountCgroup(s *wire.Setup) error {
	if !s.Cgroup {
		return nil
	}
	const flags = unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV | unix.MOUNT_ATTR_NOEXEC
	return mountFS("cgroup2", "/sys/fs/cgroup", flags)
}

// mountFS mounts a new file system without options.
func mountFS(fstype, path string, flags int) error {
	fs, err := unix.Fsopen(fstype, unix.FSOPEN_CLOEXEC)
	if err != nil {
		return err
	}
	defer unix.Close(fs)
	if err := unix.FsconfigCreate(fs); err != nil {
		return err
	}
	mnt, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, flags)
	if err != nil {
		return err
	}
	defer unix.Close(mnt)
	at, err := openBeneath(path, unix.O_DIRECTORY)
	if err != nil {
		return &pathError{path, err}
	}
	defer unix.Close(at)
	return moveMount(mnt, at)
}

// maskPaths covers files with /dev/null and folders with an empty read-only
// tmpfs. Paths that this kernel does not have need no mask.
func maskPaths(s *wire.Setup) error {
	null, err := openNull()
	if err != nil {
		return &pathError{"/dev/null", err}
	}
	defer unix.Close(null)
	empty := -1
	defer func() { unix.Close(empty) }()
	for _, path := range s.Masked {
		at, err := openBeneath(path, 0)
		if err == unix.ENOENT || err == unix.ENOTDIR {
			continue
		}
		if err != nil {
			return &pathError{path, err}
		}
		err = mask(at, null, &empty)
		unix.Close(at)
		if err != nil {
			return &pathError{path, err}
		}
	}
	return nil
}

// mask covers the file or folder at with a copy of null or of empty, which is
// made when it is first needed.
func mask(at, null int, empty *int) error {
	var st unix.Stat_t
	if err := unix.Fstat(at, &st); err != nil {
		return err
	}
	with := null
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		if *empty < 0 {
			dir, err := emptyDir()
			if err != nil {
				return err
			}
			*empty = dir
			return moveMount(dir, at) // before Linux 6.15 a detached mount cannot be copied
		}
		with = *empty
	}
	tree, err := unix.OpenTree(with, "", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_EMPTY_PATH)
	if err != nil {
		return err
	}
	defer unix.Close(tree)
	return moveMount(tree, at)
}

// openNull opens the sandbox's /dev/null and makes sure that it is one: a
// template in which it is something else must not choose what a mask shows.
func openNull() (int, error) {
	null, err := openBeneath("/dev/null", 0)
	if err != nil {
		return -1, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(null, &st); err != nil {
		unix.Close(null)
		return -1, err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFCHR || st.Rdev != unix.Mkdev(1, 3) {
		unix.Close(null)
		return -1, unix.ENODEV
	}
	return null, nil
}

// emptyDir makes a detached, empty, read-only tmpfs and returns its mount.
func emptyDir() (int, error) {
	fs, err := unix.Fsopen("tmpfs", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, err
	}
	defer unix.Close(fs)
	if err := unix.FsconfigSetString(fs, "size", "0"); err != nil {
		return -1, err
	}
	if err := unix.FsconfigSetString(fs, "nr_inodes", "1"); err != nil {
		return -1, err
	}
	if err := unix.FsconfigSetString(fs, "mode", "555"); err != nil {
		return -1, err
	}
	if err := unix.FsconfigCreate(fs); err != nil {
		return -1, err
	}
	const flags = unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV | unix.MOUNT_ATTR_NOEXEC
	return unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, flags)
}

// readOnlyPaths binds each path read-only onto itself.
func readOnlyPaths(s *wire.Setup) error {
	for _, path := range s.ReadOnly {
		at, err := openBeneath(path, 0)
		if err == unix.ENOENT || err == unix.ENOTDIR {
			continue
		}
		if err != nil {
			return &pathError{path, err}
		}
		err = bindReadOnly(at)
		unix.Close(at)
		if err != nil {
			return &pathError{path, err}
		}
	}
	return nil
}

func bindReadOnly(at int) error {
	const clone = unix.OPEN_TREE_CLONE | unix.OPEN_TREE_CLOEXEC | unix.AT_EMPTY_PATH
	tree, err := unix.OpenTree(at, "", clone)
	if err != nil {
		return err
	}
	defer unix.Close(tree)
	attr := &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}
	if err := unix.MountSetattr(tree, "", unix.AT_EMPTY_PATH, attr); err != nil {
		return err
	}
	return moveMount(tree, at)
}

// pivot makes the working directory the root and detaches the host's
// (pivot_root(2), "pivot_root(".", ".")").
func pivot(*wire.Setup) error {
	if err := unix.PivotRoot(".", "."); err != nil {
		return err
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return err
	}
	return unix.Chdir("/")
}

// nullStdin makes the sandbox's own /dev/null the standard input: the one that
// was inherited is a file of the host's.
func nullStdin(*wire.Setup) error {
	null, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(null)
	return unix.Dup3(null, 0, 0)
}

// openBeneath opens path, absolute in the sandbox, below the working directory
// without following any symlink.
func openBeneath(path string, flags uint64) (int, error) {
	how := &unix.OpenHow{
		Flags:   unix.O_PATH | unix.O_CLOEXEC | flags,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS,
	}
	return unix.Openat2(unix.AT_FDCWD, path[1:], how)
}

func moveMount(mnt, at int) error {
	return unix.MoveMount(mnt, "", at, "", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH)
}
