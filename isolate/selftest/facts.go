package selftest

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"

	"github.com/gilliam/hypervisor/isolate"
)

// facts are what the checks of the host judge by.
type facts struct {
	isolate.Host
	release, arch string
	fileSystem    string   // type of the one that the folder is on
	controllers   []string // of cgroups, that a sandbox can be given
	mountAPI      error    // of a trial of fsopen(2) and mount_setattr(2)
	pidfd         error    // of a trial of pidfd_open(2)
}

// probe reads them. It changes nothing.
func probe(dir string) (facts, error) {
	host, err := isolate.Probe()
	if err != nil {
		return facts{}, err
	}
	var uts unix.Utsname
	if err := unix.Uname(&uts); err != nil {
		return facts{}, fmt.Errorf("uname: %w", err)
	}
	kind, err := fileSystem(dir)
	if err != nil {
		return facts{}, err
	}
	return facts{
		Host: host, release: unix.ByteSliceToString(uts.Release[:]), arch: runtime.GOARCH, fileSystem: kind,
		controllers: controllers(host.Cgroup), mountAPI: tryMountAPI(), pidfd: tryPidfd(),
	}, nil
}

// fileSystem is the type of the file system that a folder is on.
func fileSystem(dir string) (string, error) {
	real, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return "", err
	}
	mounts, err := mountinfo.GetMounts(mountinfo.ParentsFilter(real))
	if err != nil {
		return "", err
	}
	kind, longest := "unknown", -1
	for _, m := range mounts { // of those on one path the last one is seen
		if len(m.Mountpoint) >= longest {
			kind, longest = m.FSType, len(m.Mountpoint)
		}
	}
	return kind, nil
}

// controllers are those that exist and may be used: on v1 each is a hierarchy of
// its own, on v2 the root's file lists what was delegated.
func controllers(mode isolate.CgroupMode) []string {
	const root = "/sys/fs/cgroup"
	if mode == isolate.CgroupV2 {
		b, err := os.ReadFile(root + "/cgroup.controllers")
		if err != nil || unix.Access(root+"/cgroup.subtree_control", unix.W_OK) != nil {
			return nil
		}
		return strings.Fields(string(b))
	}
	var found []string
	for _, name := range []string{"memory", "pids", "cpu", "devices", "blkio"} {
		if unix.Access(filepath.Join(root, name, "cgroup.procs"), unix.W_OK) == nil {
			found = append(found, name)
		}
	}
	return found
}

// needed are the controllers without which a sandbox is not bounded.
func (f facts) needed() []string {
	if f.Cgroup == isolate.CgroupV2 { // where devices are an eBPF program's
		return []string{"memory", "pids", "cpu"}
	}
	return []string{"memory", "pids", "cpu", "devices"}
}

// lacking are the controllers that are not there.
func (f facts) lacking() []string {
	return slices.DeleteFunc(f.needed(), func(name string) bool { return slices.Contains(f.controllers, name) })
}

// tryMountAPI makes a file system and mounts it nowhere.
func tryMountAPI() error {
	fs, err := unix.Fsopen("tmpfs", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return fmt.Errorf("fsopen: %w", err)
	}
	defer unix.Close(fs)
	if err := unix.FsconfigCreate(fs); err != nil {
		return fmt.Errorf("fsconfig: %w", err)
	}
	mnt, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("fsmount: %w", err)
	}
	defer unix.Close(mnt)
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}
	if err := unix.MountSetattr(mnt, "", unix.AT_EMPTY_PATH, &attr); err != nil {
		return fmt.Errorf("mount_setattr: %w", err)
	}
	return nil
}

func tryPidfd() error {
	fd, err := unix.PidfdOpen(os.Getpid(), 0)
	if err != nil {
		return fmt.Errorf("pidfd_open: %w", err)
	}
	return unix.Close(fd)
}

// hostChecks are about the machine alone, and all of them essential.
func hostChecks() []check {
	essential := func(name, promise, remedy string, look func(f facts) finding) check {
		return check{name: name, promise: promise, remedy: remedy, essential: true, run: onFacts(look)}
	}
	return []check{
		essential("root", "the hypervisor has the capabilities that it needs",
			"use sudo; in a container or a virtual machine, give its root all capabilities",
			func(f facts) finding { return unless(f.Root, "some of them lack: see CapEff in /proc/self/status") }),
		essential("kernel", fmt.Sprintf("Linux %v or newer, for idmapped layers in overlayfs", isolate.MinKernel), "boot a newer kernel",
			func(f facts) finding { return unless(!f.Kernel.Before(isolate.MinKernel), "Linux %s", f.release) }),
		essential("overlayfs", "the kernel has overlayfs", "modprobe overlay",
			func(f facts) finding { return unless(f.Overlay, "not in /proc/filesystems") }),
		essential("user-namespaces", "user namespaces can be made", "sysctl -w user.max_user_namespaces=10000",
			func(f facts) finding { return unless(f.UserNS, "user.max_user_namespaces is 0 or not there") }),
		essential("seccomp-filters", "the kernel has seccomp filters", "boot a kernel with CONFIG_SECCOMP_FILTER",
			func(f facts) finding { return unless(f.Seccomp, "no /proc/sys/kernel/seccomp/actions_avail") }),
		essential("mount-api", "mounts are made by descriptors: fsopen, fsmount, mount_setattr",
			"allow these calls where something filters them, such as the container that this runs in",
			func(f facts) finding { return unless(f.mountAPI == nil, "%v", f.mountAPI) }),
		essential("pidfd", "processes can be held by descriptors: pidfd_open",
			"allow this call where something filters it, such as the container that this runs in",
			func(f facts) finding { return unless(f.pidfd == nil, "%v", f.pidfd) }),
		essential("cgroups", "cgroup controllers of memory, pids, CPU and devices are there to be used",
			"boot with cgroup_enable=memory; mount them at /sys/fs/cgroup; in a systemd unit, set Delegate=yes",
			func(f facts) finding {
				if f.Cgroup == "" {
					return finding{wrong: []string{"no cgroup hierarchy at /sys/fs/cgroup"}}
				}
				found := finding{note: string(f.Cgroup)}
				for _, name := range f.lacking() {
					found.wrong = append(found.wrong, "no "+name+" controller, or it may not be used")
				}
				return found
			}),
	}
}
