package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gilliam/hypervisor/integration/vm/job"
)

// A mount is one call of mount(2).
type mount struct {
	source, target, fstype string
	flags                  uintptr
	options                string
}

func (m mount) do() error {
	if err := os.MkdirAll(m.target, 0o755); err != nil {
		return err
	}
	if err := unix.Mount(m.source, m.target, m.fstype, m.flags, m.options); err != nil {
		return fmt.Errorf("mount -t %s -o %s %s %s: %w", m.fstype, m.options, m.source, m.target, err)
	}
	return nil
}

func all(mounts []mount) error {
	for _, m := range mounts {
		if err := m.do(); err != nil {
			return err
		}
	}
	return nil
}

const secure = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC

// The disks' file systems, while they wait for the new root.
const (
	newRootDir = "/new"
	layerDir   = "/layer"
)

// newRoot makes the guest's root and goes there: the template below an overlay
// whose upper layer is in memory. It moves the new root over the initramfs, which
// cannot be pivoted away from (Documentation/filesystems/
// ramfs-rootfs-initramfs.rst).
func newRoot() error {
	err := all([]mount{
		{"devtmpfs", "/dev", "devtmpfs", unix.MS_NOSUID, ""},
	})
	if err != nil {
		return err
	}
	for _, disk := range []string{"/dev/vda", "/dev/vdb"} {
		if err := appear(disk); err != nil {
			return err
		}
	}
	err = all([]mount{
		{"/dev/vda", job.TemplateDir, "ext4", 0, ""},
		{"tmpfs", layerDir, "tmpfs", 0, "mode=755"},
	})
	if err != nil {
		return err
	}
	upper, work := layerDir+"/upper", layerDir+"/work"
	for _, dir := range []string{upper, work} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
	}
	err = all([]mount{
		{"overlay", newRootDir, "overlay", 0, "lowerdir=" + job.TemplateDir + ",upperdir=" + upper + ",workdir=" + work},
		{"/dev/vdb", newRootDir + job.ScratchDir, "ext4", 0, ""},
		{newRootDir + job.TempDir, newRootDir + "/tmp", "", unix.MS_BIND, ""},
		{job.TemplateDir, newRootDir + job.TemplateDir, "", unix.MS_MOVE, ""},
		{"/dev", newRootDir + "/dev", "", unix.MS_MOVE, ""},
	})
	if err != nil {
		return err
	}
	if err := os.Chdir(newRootDir); err != nil {
		return err
	}
	if err := unix.Mount(".", "/", "", unix.MS_MOVE, ""); err != nil {
		return fmt.Errorf("move the new root to /: %w", err)
	}
	if err := unix.Chroot("."); err != nil {
		return fmt.Errorf("chroot to the new root: %w", err)
	}
	return os.Chdir("/")
}

// mountState mounts the disk that outlives the machine, if it has one.
func (g guest) mountState() error {
	const disk = "/dev/vdc"
	if !g.State {
		return nil
	}
	if err := appear(disk); err != nil {
		return err
	}
	return mount{disk, job.StateDir, "ext4", 0, ""}.do()
}

// appear waits until a disk's driver has found it.
func appear(disk string) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(30 * time.Second); ; <-tick.C {
		_, err := os.Stat(disk)
		if err == nil || time.Now().After(deadline) {
			return err
		}
	}
}

// openFiles is the limit that systemd sets, systemd-system.conf(5).
var openFiles = unix.Rlimit{Cur: 1024, Max: 524288}

// furnish mounts and sets what a Debian host with systemd has, in so far as the
// kernel knows it: with nothing but cgroup v2.
func furnish() error {
	err := all([]mount{
		{"proc", "/proc", "proc", secure, ""},
		{"sysfs", "/sys", "sysfs", secure, ""},
		{"securityfs", "/sys/kernel/security", "securityfs", secure, ""},
		{"debugfs", "/sys/kernel/debug", "debugfs", secure, ""},
		{"tracefs", "/sys/kernel/tracing", "tracefs", secure, ""},
		{"bpf", "/sys/fs/bpf", "bpf", secure, "mode=700"},
		{"cgroup2", "/sys/fs/cgroup", "cgroup2", secure, "nsdelegate,memory_recursiveprot"},
		{"devpts", "/dev/pts", "devpts", unix.MS_NOSUID | unix.MS_NOEXEC, "gid=5,mode=620,ptmxmode=000"},
		{"tmpfs", "/dev/shm", "tmpfs", unix.MS_NOSUID | unix.MS_NODEV, ""},
		{"mqueue", "/dev/mqueue", "mqueue", secure, ""},
		{"tmpfs", "/run", "tmpfs", unix.MS_NOSUID | unix.MS_NODEV, "mode=755"},
	})
	if err != nil {
		return err
	}
	if err := os.MkdirAll("/run/lock", 0o1777); err != nil {
		return err
	}
	for file, text := range map[string]string{
		"/etc/resolv.conf": "nameserver 127.0.0.1\n", "/etc/hostname": "guest\n", "/etc/hosts": "127.0.0.1 localhost guest\n",
	} {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			return err
		}
	}
	if err := unix.Sethostname([]byte("guest")); err != nil {
		return fmt.Errorf("sethostname: %w", err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &openFiles); err != nil {
		return fmt.Errorf("set the limit of open files: %w", err)
	}
	if err := loopbackUp(); err != nil {
		return fmt.Errorf("bring loopback up: %w", err)
	}
	// systemd shares all mounts with later namespaces, systemd(1).
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SHARED, ""); err != nil {
		return fmt.Errorf("share mounts: %w", err)
	}
	return delegate()
}

// loopbackUp turns on lo, the only network that there is (netdevice(7)).
func loopbackUp() error {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(s)
	request, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	request.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	return unix.IoctlIfreq(s, unix.SIOCSIFFLAGS, request)
}

const cgroupRoot = "/sys/fs/cgroup"

// delegate lets the groups below the root use every controller.
func delegate() error {
	list, err := os.ReadFile(filepath.Join(cgroupRoot, "cgroup.controllers"))
	if err != nil {
		return err
	}
	for _, controller := range strings.Fields(string(list)) {
		file := filepath.Join(cgroupRoot, "cgroup.subtree_control")
		if err := os.WriteFile(file, []byte("+"+controller), 0); err != nil {
			return fmt.Errorf("turn on %s: %w", controller, err)
		}
	}
	return nil
}
