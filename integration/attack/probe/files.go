package main

import (
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/gilliam/hypervisor/isolate/selftest/attacks"
)

// image attacks a folder that sandboxes share read-only.
func image(r *attacks.Report, args []string) {
	dir := args[0]
	file := filepath.Join(dir, "file")
	r.Try("create", os.WriteFile(filepath.Join(dir, "new"), []byte("x"), 0o666))
	r.Try("make a folder", os.Mkdir(filepath.Join(dir, "folder"), 0o777))
	r.Try("write", attacks.Rewrite(file))
	r.Try("truncate", os.Truncate(file, 3))
	r.Try("chmod", os.Chmod(file, 0o666))
	r.Try("touch", unix.UtimesNanoAt(unix.AT_FDCWD, file, []unix.Timespec{{Sec: 1}, {Sec: 1}}, 0))
	r.Try("setxattr", unix.Setxattr(file, "user.x", []byte("x"), 0))
	r.Try("map", mapShared(file))
	r.Try("link inside", os.Link(file, filepath.Join(dir, "link")))
	r.Try("dirty pipe", attacks.DirtyPipe(file))
	for _, out := range []string{"/tmp/out", "/var/tmp/out", "/dev/shm/out"} {
		r.Try("link to "+filepath.Dir(out), os.Link(file, out))
		r.Try("rename to "+filepath.Dir(out), os.Rename(file, out))
	}
	r.Try("remove", os.Remove(file))
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

// litter leaves behind what a careless remover would follow, hang on or fail at.
func litter(r *attacks.Report, args []string) {
	dir, canary := args[0], args[1]
	bad := func(err error) {
		if err != nil {
			attacks.Fatal(err)
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
	r.Fact("littered", dir)
}
