package attacks

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// masks looks behind the masked paths and writes to the read-only ones. The
// arguments are mask=PATH and ro=PATH. Paths that are not there are left out.
func masks(r *Report, args []string) {
	for _, arg := range args {
		kind, path, _ := strings.Cut(arg, "=")
		info, err := os.Lstat(path)
		if err != nil {
			continue
		}
		if kind == "mask" && info.IsDir() {
			entries, err := os.ReadDir(path)
			r.Found("list "+path, err == nil && len(entries) > 0)
		} else if kind == "mask" {
			var st unix.Stat_t
			if err := unix.Lstat(path, &st); err != nil {
				Fatal(err)
			}
			r.Found("another file at "+path, st.Rdev != unix.Mkdev(1, 3))
		}
		if info.IsDir() {
			r.Try("create in "+path, Open(path+"/x", unix.O_WRONLY|unix.O_CREAT))
		}
		r.Try("remove "+path, remove(path, info.IsDir()))
		r.Try("rename "+path, os.Rename(path, path+".old"))
		r.Try("rename over "+path, os.Rename(mktemp(), path))
		r.Try("umount "+path, unix.Unmount(path, unix.MNT_DETACH))
		r.Try("remount "+path, unix.Mount("", path, "", unix.MS_REMOUNT|unix.MS_BIND, ""))
		r.Try("move "+path, unix.Mount(path, "/tmp", "", unix.MS_MOVE, ""))
	}
}

func remove(path string, dir bool) error {
	if dir {
		return unix.Rmdir(path)
	}
	return unix.Unlink(path)
}

// mktemp makes a file to use.
func mktemp() string {
	f, err := os.CreateTemp("", "probe")
	if err != nil {
		return "/tmp/none"
	}
	defer f.Close()
	return f.Name()
}

// Remounts is what must come of remounts.
var Remounts = Expectation{Errno: "EPERM", Want: map[string]string{"fsconfig": "EPERM|EBADF", "move_mount": "EPERM|EBADF"}}

// remounts tries every way to change what is mounted.
func remounts(r *Report, args []string) {
	dir, err := os.MkdirTemp("", "mount")
	if err != nil {
		Fatal(err)
	}
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	for _, d := range []string{a, b} {
		if err := os.Mkdir(d, 0o700); err != nil {
			Fatal(err)
		}
	}
	for _, fs := range []string{"tmpfs", "proc", "sysfs", "mqueue", "devpts", "cgroup2", "overlay", "ramfs", "fuse", "ext4"} {
		options := map[string]string{"overlay": "lowerdir=" + a + ":" + b, "fuse": "fd=0,rootmode=40000,user_id=0,group_id=0"}[fs]
		r.Try("mount "+fs, unix.Mount("none", a, fs, 0, options))
	}
	r.Try("bind", unix.Mount("/", b, "", unix.MS_BIND, ""))
	r.Try("remount", unix.Mount("", b, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, ""))
	r.Try("share", unix.Mount("", b, "", unix.MS_SHARED, ""))
	r.Try("umount", unix.Unmount(b, unix.MNT_DETACH))
	fs, err := unix.Fsopen("tmpfs", unix.FSOPEN_CLOEXEC)
	r.Try("fsopen", err)
	r.Try("fsconfig", unix.FsconfigCreate(fs))
	mnt, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, 0)
	r.Try("fsmount", err)
	r.Try("move_mount", unix.MoveMount(mnt, "", unix.AT_FDCWD, b, unix.MOVE_MOUNT_F_EMPTY_PATH))
	_, err = unix.OpenTree(unix.AT_FDCWD, b, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	r.Try("open_tree", err)
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_NOEXEC}
	r.Try("mount_setattr", unix.MountSetattr(unix.AT_FDCWD, b, 0, &attr))
	for _, path := range args {
		r.Try("umount "+path, unix.Unmount(path, unix.MNT_DETACH))
		r.Try("remount rw "+path, unix.Mount("", path, "", unix.MS_REMOUNT|unix.MS_BIND, ""))
		r.Try("move "+path, unix.Mount(path, a, "", unix.MS_MOVE, ""))
		rw := unix.MountAttr{Attr_clr: unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NODEV | unix.MOUNT_ATTR_NOSUID}
		r.Try("clear flags "+path, unix.MountSetattr(unix.AT_FDCWD, path, 0, &rw))
	}
}

// Cgroups is what must come of cgroups.
var Cgroups = Expectation{Want: map[string]string{
	"a writable file in /sys/fs/cgroup": "no", "a release_agent": "no", "a path above its own cgroup": "no",
}}

// cgroups looks for a cgroup file to write to, and for what lies above.
func cgroups(r *Report, _ []string) {
	writable, agents := 0, 0
	_ = filepath.WalkDir("/sys/fs/cgroup", func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return nil // not to be looked into
		}
		if d.Name() == "release_agent" {
			agents++
		}
		if !d.IsDir() && Open(path, unix.O_WRONLY) == nil {
			writable++
		}
		return nil
	})
	r.Found("a writable file in /sys/fs/cgroup", writable > 0)
	r.Found("a release_agent", agents > 0)
	r.Try("make a cgroup", os.Mkdir("/sys/fs/cgroup/x", 0o755))
	self, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		Fatal(err)
	}
	above := 0
	for line := range strings.Lines(string(self)) {
		if !strings.HasSuffix(strings.TrimSpace(line), ":/") {
			above++
		}
	}
	r.Found("a path above its own cgroup", above > 0)
	dir, err := os.MkdirTemp("", "cgroup")
	if err != nil {
		Fatal(err)
	}
	r.Try("mount cgroup2", unix.Mount("none", dir, "cgroup2", 0, ""))
	for _, c := range []string{"memory", "devices", "pids", "none,name=x"} {
		r.Try(fmt.Sprintf("mount cgroup %s", c), unix.Mount("none", dir, "cgroup", 0, c))
	}
}
