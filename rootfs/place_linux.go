package rootfs

import (
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// What is made of one entry of an archive, in a folder that is open and by a name
// of one part. Nothing is followed and nothing opened that is there already, and
// an [os.Root] is not asked anew for each step: a small file is four system calls.

// A newFile is a file that has just been made. It is no [os.File], which would be
// offered to the poller of the runtime first.
type newFile struct {
	fd   int
	name string
}

func makeFileAt(dir *os.File, name string) (newFile, error) {
	fd, err := unix.Openat(int(dir.Fd()), name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return newFile{}, &fs.PathError{Op: "create", Path: name, Err: err}
	}
	return newFile{fd, name}, nil
}

func (f newFile) write(b []byte) error {
	for len(b) > 0 {
		n, err := unix.Write(f.fd, b)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return &fs.PathError{Op: "write", Path: f.name, Err: err}
		}
		b = b[n:]
	}
	return nil
}

// finish gives the file its mode, whatever the umask, and its time.
func (f newFile) finish(mode fs.FileMode, at time.Time) error {
	if err := unix.Fchmod(f.fd, uint32(mode)); err != nil {
		return &fs.PathError{Op: "chmod", Path: f.name, Err: err}
	}
	ts, err := unix.TimeToTimespec(at)
	if err == nil {
		err = unix.UtimesNanoAt(f.fd, "", []unix.Timespec{ts, ts}, unix.AT_EMPTY_PATH)
	}
	if err != nil {
		return &fs.PathError{Op: "utimensat", Path: f.name, Err: err}
	}
	return nil
}

func (f newFile) close() error {
	if err := unix.Close(f.fd); err != nil {
		return &fs.PathError{Op: "close", Path: f.name, Err: err}
	}
	return nil
}

// makeFolderAt makes a folder of mode 0755, whatever the umask.
func makeFolderAt(dir *os.File, name string) error {
	if err := unix.Mkdirat(int(dir.Fd()), name, 0o755); err != nil {
		return &fs.PathError{Op: "mkdir", Path: name, Err: err}
	}
	if err := unix.Fchmodat(int(dir.Fd()), name, 0o755, 0); err != nil {
		return &fs.PathError{Op: "chmod", Path: name, Err: err}
	}
	return nil
}

func makeLinkAt(dir *os.File, name, target string) error {
	if err := unix.Symlinkat(target, int(dir.Fd()), name); err != nil {
		return &fs.PathError{Op: "symlink", Path: name, Err: err}
	}
	return nil
}
