package isolate

import (
	"errors"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// bind shows a host file or folder.
func (b *builder) bind(s BindStep) error {
	userns := -1
	if s.IDMapped {
		userns = b.userns
	}
	src, isDir, err := openSource(s.Bind)
	if err != nil {
		return err
	}
	defer unix.Close(src)
	mnt, err := cloneMount(src, "", s.Flags, userns)
	if err != nil {
		return err
	}
	defer unix.Close(mnt)
	at, err := b.target(s.Target, isDir, s.Replace)
	if err != nil {
		return err
	}
	defer unix.Close(at)
	return attach(mnt, at)
}

// openSource opens what a bind shows. Within a folder it may be reached by
// symlinks that stay in it, whoever changes them meanwhile, and by no mount: what
// an operator has mounted there may be anything (openat2(2)). What is opened is
// what is mounted.
func openSource(s Bind) (fd int, isDir bool, err error) {
	if s.Within == "" {
		fd, err = unix.Open(s.Source, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	} else {
		fd, err = openWithin(s.Within, s.Source)
	}
	if err != nil {
		return -1, false, &os.PathError{Op: "open", Path: s.Source, Err: err}
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		unix.Close(fd)
		return -1, false, err
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		return fd, true, nil
	case unix.S_IFREG:
		return fd, false, nil
	}
	unix.Close(fd)
	return -1, false, &os.PathError{Op: "bind", Path: s.Source, Err: errors.New("neither a file nor a folder")}
}

// openWithin opens path, which lies in the folder dir.
func openWithin(dir, path string) (int, error) {
	at, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	defer unix.Close(at)
	how := &unix.OpenHow{
		Flags:   unix.O_PATH | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_MAGICLINKS | unix.RESOLVE_NO_XDEV,
	}
	for {
		fd, err := unix.Openat2(at, relative(strings.TrimPrefix(path, dir)), how)
		if err != unix.EAGAIN && err != unix.EINTR { // EAGAIN: somebody renamed a folder meanwhile
			return fd, err
		}
	}
}

// memoryOfCover bounds the folders that are made on the way to mount points.
var memoryOfCover = []string{"mode=700", "size=1m", "nr_inodes=4096"}

// extend covers the tree at a path with an overlay of it, whose changes go to
// memory. Both lie below the overlay, for the reason that mountRoot has.
func (b *builder) extend(s Extend) error {
	tree, err := openIn(b.root, s.Path, unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer unix.Close(tree)
	memory, err := newMount("tmpfs", memoryOfCover, NoSuid|NoDev|NoExec)
	if err != nil {
		return err
	}
	defer unix.Close(memory)
	if err := attach(memory, tree); err != nil {
		return err
	}
	options := []string{"lowerdir=" + fdPath(tree)}
	for key, name := range map[string]string{"upperdir": "upper", "workdir": "work"} {
		dir, err := makeLike(memory, name, tree)
		if err != nil {
			return err
		}
		defer unix.Close(dir)
		options = append(options, key+"="+fdPath(dir))
	}
	cover, err := newMount("overlay", append(options, s.Options...), s.Flags)
	if err != nil {
		return err
	}
	defer unix.Close(cover)
	return attach(cover, memory)
}

// fdPath names an open file for calls that want a path.
func fdPath(fd int) string { return "/proc/thread-self/fd/" + strconv.Itoa(fd) }

// makeLike makes a folder in at with the owner and the mode of another one.
func makeLike(at int, name string, other int) (int, error) {
	var st unix.Stat_t
	if err := unix.Fstat(other, &st); err != nil {
		return -1, err
	}
	if err := unix.Mkdirat(at, name, 0o700); err != nil {
		return -1, err
	}
	if err := unix.Fchownat(at, name, int(st.Uid), int(st.Gid), unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return -1, err
	}
	if err := unix.Fchmodat(at, name, st.Mode&0o1777, 0); err != nil {
		return -1, err
	}
	return unix.Openat(at, name, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
}
