package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// masks looks behind the masked paths and writes to the read-only ones. The
// arguments are mask=PATH and ro=PATH. Paths that are not there are left out.
func masks(r *report, args []string) {
	for _, arg := range args {
		kind, path, _ := strings.Cut(arg, "=")
		info, err := os.Lstat(path)
		if err != nil {
			continue
		}
		if kind == "mask" && info.IsDir() {
			entries, err := os.ReadDir(path)
			r.found("list "+path, err == nil && len(entries) > 0)
		} else if kind == "mask" {
			var st unix.Stat_t
			if err := unix.Lstat(path, &st); err != nil {
				fatal(err)
			}
			r.found("another file at "+path, st.Rdev != unix.Mkdev(1, 3))
		}
		if info.IsDir() {
			r.try("create in "+path, open(path+"/x", unix.O_WRONLY|unix.O_CREAT))
		}
		r.try("remove "+path, remove(path, info.IsDir()))
		r.try("rename "+path, os.Rename(path, path+".old"))
		r.try("rename over "+path, os.Rename(mktemp(), path))
		r.try("umount "+path, unix.Unmount(path, unix.MNT_DETACH))
		r.try("remount "+path, unix.Mount("", path, "", unix.MS_REMOUNT|unix.MS_BIND, ""))
		r.try("move "+path, unix.Mount(path, "/tmp", "", unix.MS_MOVE, ""))
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

// remounts tries every way to change what is mounted.
func remounts(r *report, args []string) {
	dir, err := os.MkdirTemp("", "mount")
	if err != nil {
		fatal(err)
	}
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	for _, d := range []string{a, b} {
		if err := os.Mkdir(d, 0o700); err != nil {
			fatal(err)
		}
	}
	for _, fs := range []string{"tmpfs", "proc", "sysfs", "mqueue", "devpts", "cgroup2", "overlay", "ramfs", "fuse", "ext4"} {
		options := map[string]string{"overlay": "lowerdir=" + a + ":" + b, "fuse": "fd=0,rootmode=40000,user_id=0,group_id=0"}[fs]
		r.try("mount "+fs, unix.Mount("none", a, fs, 0, options))
	}
	r.try("bind", unix.Mount("/", b, "", unix.MS_BIND, ""))
	r.try("remount", unix.Mount("", b, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, ""))
	r.try("share", unix.Mount("", b, "", unix.MS_SHARED, ""))
	r.try("umount", unix.Unmount(b, unix.MNT_DETACH))
	fs, err := unix.Fsopen("tmpfs", unix.FSOPEN_CLOEXEC)
	r.try("fsopen", err)
	r.try("fsconfig", unix.FsconfigCreate(fs))
	mnt, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, 0)
	r.try("fsmount", err)
	r.try("move_mount", unix.MoveMount(mnt, "", unix.AT_FDCWD, b, unix.MOVE_MOUNT_F_EMPTY_PATH))
	_, err = unix.OpenTree(unix.AT_FDCWD, b, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	r.try("open_tree", err)
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_NOEXEC}
	r.try("mount_setattr", unix.MountSetattr(unix.AT_FDCWD, b, 0, &attr))
	for _, path := range args {
		r.try("umount "+path, unix.Unmount(path, unix.MNT_DETACH))
		r.try("remount rw "+path, unix.Mount("", path, "", unix.MS_REMOUNT|unix.MS_BIND, ""))
		r.try("move "+path, unix.Mount(path, a, "", unix.MS_MOVE, ""))
		rw := unix.MountAttr{Attr_clr: unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NODEV | unix.MOUNT_ATTR_NOSUID}
		r.try("clear flags "+path, unix.MountSetattr(unix.AT_FDCWD, path, 0, &rw))
	}
}

// cgroups looks for a cgroup file to write to, and for what lies above.
func cgroups(r *report, _ []string) {
	writable, agents := 0, 0
	_ = filepath.WalkDir("/sys/fs/cgroup", func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return nil // not to be looked into
		}
		if d.Name() == "release_agent" {
			agents++
		}
		if !d.IsDir() && open(path, unix.O_WRONLY) == nil {
			writable++
		}
		return nil
	})
	r.found("a writable file in /sys/fs/cgroup", writable > 0)
	r.found("a release_agent", agents > 0)
	r.try("make a cgroup", os.Mkdir("/sys/fs/cgroup/x", 0o755))
	self, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		fatal(err)
	}
	above := 0
	for line := range strings.Lines(string(self)) {
		if !strings.HasSuffix(strings.TrimSpace(line), ":/") {
			above++
		}
	}
	r.found("a path above its own cgroup", above > 0)
	dir, err := os.MkdirTemp("", "cgroup")
	if err != nil {
		fatal(err)
	}
	r.try("mount cgroup2", unix.Mount("none", dir, "cgroup2", 0, ""))
	for _, c := range []string{"memory", "devices", "pids", "none,name=x"} {
		r.try(fmt.Sprintf("mount cgroup %s", c), unix.Mount("none", dir, "cgroup", 0, c))
	}
}
