package attacks

import (
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// switches are files by which root steers the host. They are opened, never
// written to, and none does anything when it is opened.
var switches = []string{
	"/proc/sysrq-trigger", "/proc/sys/kernel/core_pattern", "/proc/sys/kernel/modprobe", "/proc/sys/kernel/hotplug",
	"/proc/sys/kernel/sysrq", "/proc/sys/kernel/hostname", "/proc/sys/kernel/domainname", "/proc/sys/kernel/panic",
	"/proc/sys/kernel/randomize_va_space", "/proc/sys/kernel/ns_last_pid", "/proc/sys/kernel/cap_last_cap",
	"/proc/sys/kernel/core_pipe_limit", "/proc/sys/kernel/usermodehelper/bset", "/proc/sys/kernel/keys/maxkeys",
	"/proc/sys/kernel/pid_max", "/proc/sys/kernel/shmmax", "/proc/sys/kernel/msgmax", "/proc/sys/kernel/sem",
	"/proc/sys/vm/drop_caches", "/proc/sys/vm/overcommit_memory", "/proc/sys/vm/panic_on_oom", "/proc/sys/vm/compact_memory",
	"/proc/sys/fs/suid_dumpable", "/proc/sys/fs/file-max", "/proc/sys/fs/binfmt_misc/register", "/proc/sys/fs/protected_symlinks",
	"/proc/sys/fs/mqueue/queues_max", "/proc/sys/fs/inotify/max_user_instances",
	"/proc/sys/net/ipv4/ip_forward", "/proc/sys/net/ipv4/ping_group_range", "/proc/sys/net/ipv4/ip_unprivileged_port_start",
	"/proc/sys/net/ipv4/conf/all/forwarding", "/proc/sys/net/ipv6/conf/all/forwarding", "/proc/sys/net/core/somaxconn",
	"/proc/sys/user/max_user_namespaces", "/proc/sys/user/max_inotify_instances",
	"/proc/irq/default_smp_affinity", "/proc/fs/ext4", "/proc/timer_list", "/proc/mtrr", "/proc/kcore", "/proc/kmsg",
	"/proc/1/oom_score_adj", "/proc/1/uid_map", "/proc/1/gid_map", "/proc/1/setgroups", "/proc/1/mem", "/proc/1/clear_refs",
	"/proc/1/coredump_filter", "/proc/1/comm", "/proc/1/sched", "/proc/1/timens_offsets",
	"/proc/self/uid_map", "/proc/self/gid_map", "/proc/self/setgroups",
	"/sys/power/state", "/sys/power/disk", "/sys/kernel/uevent_helper", "/sys/kernel/mm/ksm/run", "/sys/kernel/profiling",
	"/sys/kernel/mm/transparent_hugepage/enabled", "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages",
	"/sys/kernel/kexec_crash_size", "/sys/kernel/rcu_normal", "/sys/kernel/vmcoreinfo", "/sys/kernel/debug/x",
	"/sys/module/kernel/parameters/panic", "/sys/bus/pci/rescan", "/sys/bus/cpu/uevent", "/sys/block/vda/queue/scheduler",
	"/sys/devices/system/cpu/cpu1/online", "/sys/devices/system/memory/probe", "/sys/fs/ext4/vda/trigger_fs_error",
	"/sys/class/net/lo/mtu", "/sys/class/net/lo/ifalias",
}

// own are the files of a process's user namespace: whoever made it may write
// them once, before anybody else has.
var own = map[string]bool{"/proc/self/uid_map": true, "/proc/self/gid_map": true, "/proc/self/setgroups": true}

// knobs opens every switch for writing, and then all else that looks like one.
func knobs(r *Report, args []string) {
	for _, path := range switches {
		if masked(path) {
			r.Fact("masked "+path, true)
			continue
		}
		if own[path] {
			f, err := os.OpenFile(path, os.O_WRONLY, 0)
			if err == nil {
				_, err = f.WriteString("0 0 1\n")
				f.Close()
			}
			r.Try("write "+path, err)
			continue
		}
		r.Try("open "+path, Open(path, unix.O_WRONLY))
	}
	for _, root := range []string{"/proc/sys", "/proc/irq", "/proc/bus", "/proc/fs", "/proc/tty", "/sys"} {
		first, count := "", 0
		_ = filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() || masked(path) || len(args) > 0 {
				return nil // the control opens no more than what is listed
			}
			if Open(path, unix.O_WRONLY) == nil {
				first, count = path, count+1
			}
			return nil
		})
		r.Found("a writable file in "+root+" "+first, count > 0)
	}
}

// masked tells whether the null device covers a path.
func masked(path string) bool {
	var st unix.Stat_t
	return unix.Lstat(path, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFCHR && st.Rdev == unix.Mkdev(1, 3)
}
