//go:build integration

package oracle

import (
	"slices"

	"github.com/gilliam/hypervisor/isolate"
)

// acceptedRows are the differences that are meant to be, by what makes them.
var acceptedRows = slices.Concat(acceptedOwners, acceptedMounts, acceptedCore, acceptedInit, acceptedProfile, acceptedCgroup, acceptedFilter)

// The launch thread makes the sandbox's file systems and namespaces while it is
// the host's root; libcontainer's init makes them as root of the sandbox. Ours
// belong to nobody in the sandbox: not even root there has power over them.
var acceptedOwners = []accepted{
	{field: "namespace ipc", ours: "its own, owned by the host", theirs: "its own, owned by the sandbox",
		why: "root of the sandbox has no power over it"},
	{field: "namespace net", ours: "its own, owned by the host", theirs: "its own, owned by the sandbox",
		why: "root of the sandbox has no power over it"},
	{field: "namespace uts", ours: "its own, owned by the host", theirs: "its own, owned by the sandbox",
		why: "root of the sandbox has no power over it"},
	{field: "sysctl net/*", ours: "*", theirs: absent,
		why: "the kernel hides them in network namespaces that a sandbox owns; all of /proc/sys is read-only"},
	{field: "sysctl user/max_user_namespaces", ours: "0", theirs: "*", why: "no user namespaces of an app's own, whatever its filter says"},
	{field: "sysctl user/max_inotify_instances", ours: "32", theirs: "*", why: "a share of what all sandboxes have together"},
	{field: "mount * owner", ours: "65534:65534", theirs: "0:0", why: "the host's root made it"},
	{field: "node * owner", ours: "65534:65534", theirs: "0:0", why: "the host's root made it"},
	{field: "path /sys/* owner", ours: "65534:65534", theirs: "0:0", why: "the host's root made the mask"},
	{field: "mount /dev/mqueue owner", ours: "65534:65534", theirs: "0:65534", why: "the host's root made it"},
	{field: "node /dev/mqueue owner", ours: "65534:65534", theirs: "0:65534", why: "the host's root made it"},
	{field: "mount * option uid", ours: absent, theirs: base, why: "the host's root made it"},
	{field: "mount * option gid", ours: absent, theirs: base, why: "the host's root made it"},
	{field: "mount /sys option access", ours: "rw", theirs: "ro",
		why: "read-only by its mount: beside the host's network the file system itself is the host's too"},
}

var acceptedMounts = []accepted{
	// Root of the sandbox may not make nodes, so libcontainer binds the host's.
	{field: "mount /dev/full*", ours: absent, theirs: "*", why: "a node of our own and no bind of the host's"},
	{field: "mount /dev/null*", ours: absent, theirs: "*", why: "a node of our own and no bind of the host's"},
	{field: "mount /dev/random*", ours: absent, theirs: "*", why: "a node of our own and no bind of the host's"},
	{field: "mount /dev/tty*", ours: absent, theirs: "*", why: "a node of our own and no bind of the host's"},
	{field: "mount /dev/urandom*", ours: absent, theirs: "*", why: "a node of our own and no bind of the host's"},
	{field: "mount /dev/zero*", ours: absent, theirs: "*", why: "a node of our own and no bind of the host's"},

	// Files are masked with the sandbox's null device.
	{field: "mount * type", ours: "tmpfs", theirs: "devtmpfs", why: "a mask is our own null device"},
	{field: "mount * source", ours: "none", theirs: "devtmpfs", why: "a mask is our own null device"},
	{field: "mount * flags", ours: "noexec,nosuid,relatime,ro", theirs: "*relatime,rw", why: "a mask is our own null device, in a /dev that is stricter"},
	{field: "mount * option nr_inodes", ours: "64", theirs: "*", why: "a mask is our own null device"},
	{field: "mount * option size", ours: "64k", theirs: "*", why: "a mask is our own null device"},

	// Folders are masked with an empty tmpfs.
	{field: "mount *", ours: "dr-xr-xr-x", theirs: "dtrwxrwxrwx", why: "nobody may write to a mask, by its mode too"},
	{field: "path *", ours: "dr-xr-xr-x", theirs: "dtrwxrwxrwx", why: "nobody may write to a mask, by its mode too"},
	{field: "mount * option mode", ours: "555", theirs: absent, why: "nobody may write to a mask, by its mode too"},
	{field: "mount * flags", ours: "nodev,noexec,nosuid,relatime,ro", theirs: "relatime,ro", why: "a mask of ours is stricter"},
	{field: "mount * option access", ours: "rw", theirs: "ro", why: "a mask is read-only by its mount"},
	{field: "mount * option size", ours: "0k", theirs: "4k", why: "there is nothing in a mask"},
	{field: "mount * source", ours: "none", theirs: "tmpfs", why: "a name that nobody needs"},
}

// libcontainer links /dev/core to /proc/kcore where the kernel has that, as on
// old systems. Ours has no name for what is masked.
var acceptedCore = where(exists("/proc/kcore"),
	accepted{field: "node /dev/core*", ours: absent, theirs: "*", why: "nobody needs a link to a mask"},
	accepted{field: "path /dev/core", ours: "ENOENT", theirs: "Lrwxrwxrwx -> /proc/kcore ok", why: "nobody needs a link to a mask"},
	accepted{field: "path /dev/core *", ours: absent, theirs: "*", why: "nobody needs a link to a mask"},
)

// where are rows that are accepted, and needed, on some kernels only.
func where(present bool, rows ...accepted) []accepted {
	if !present {
		return nil
	}
	return rows
}

// PID 1 of our sandboxes is sandbox-init, of libcontainer's the program itself.
var acceptedInit = []accepted{
	{field: "descriptor 0", ours: "/dev/null read 666 65534:65534", theirs: "/dev/null read and write 666 65534:65534",
		why: "standard input is for reading"},
	{field: "process", ours: "pid 1 false, its parent is outside false, leads its group true, leads its session true",
		theirs: "pid 1 true, its parent is outside true, leads its group true, leads its session true",
		why:    "PID 1 is sandbox-init"},
	{field: "processes", ours: "probe sandbox-init", theirs: "probe", why: "PID 1 is sandbox-init"},
	{field: "pid 1 CapEff", ours: "00000000000000e0", theirs: "0000000000000000",
		why: "sandbox-init starts the program as its user and signals it: setuid, setgid and kill in the sandbox"},
	{field: "pid 1 CapEff", ours: "00000000002804e1", theirs: "0000000000280401", why: "as above, beside the program's own"},
	{field: "pid 1 CapPrm", ours: "00000000002804e1", theirs: "0000000000280401", why: "as above, beside the program's own"},
	{field: "pid 1 CapAmb", ours: "0000000000000000", theirs: "0000000000280401", why: "only the program needs them so"},
	{field: "pid 1 CapInh", ours: "0000000000000000", theirs: "0000000000280401", why: "only the program needs them so"},
	{field: "pid 1 CapPrm", ours: "00000000000000e0", theirs: "0000000000000000", why: "as CapEff"},
	{field: "pid 1 SigIgn", ours: "0000000000000000", theirs: "*", varies: true, why: "libcontainer hands on what the test's own parent ignores"},
	{field: "status SigIgn", ours: "0000000000000000", theirs: "*", varies: true, why: "libcontainer hands on what the test's own parent ignores"},
	{field: "pid 1 Uid", ours: "0 0 0 0", theirs: "1000 1000 1000 1000", why: "sandbox-init is root of the sandbox"},
	{field: "pid 1 Gid", ours: "0 0 0 0", theirs: "1000 1000 1000 1000", why: "sandbox-init is root of the sandbox"},
	{field: "pid 1 owner", ours: "0:0", theirs: "1000:1000", why: "sandbox-init is root of the sandbox"},
	{field: "pid 1 link *", ours: "EACCES", theirs: "ok", why: "sandbox-init cannot be looked into"},
	{field: "pid 1 list fd", ours: "EACCES", theirs: "ok", why: "sandbox-init cannot be looked into"},
	{field: "pid 1 read *", ours: "EACCES", theirs: "ok", why: "sandbox-init cannot be looked into"},
	{field: "pid 1 signal", ours: "EPERM", theirs: "ok", why: "sandbox-init cannot be signalled"},
}

// Under an AppArmor profile the program may signal what is under it too, and
// sandbox-init is not.
var acceptedProfile = where(confined(),
	accepted{field: "pid 1 signal", ours: "EACCES", theirs: "ok", why: "not even by root of the sandbox"},
)

// confined tells whether programs are under an AppArmor profile on this machine.
func confined() bool {
	host, err := isolate.Probe()
	return err == nil && host.AppArmor.Use != "" && host.AppArmor.Use != isolate.Unconfined
}

var acceptedCgroup = []accepted{
	{field: "cgroup memory memory.kmem.tcp.limit_in_bytes", ours: "67108864", theirs: "*", varies: true,
		why: "cgroup v1 counts the buffers of sockets only when they have a limit"},
	{field: "cgroup cpuset *", ours: absent, theirs: "*", varies: true, why: "no cgroup of its own where nothing is limited"},
	{field: "cgroup freezer *", ours: absent, theirs: "*", varies: true, why: "no cgroup of its own where nothing is limited"},
	{field: "outside cgroup cpuset", ours: "*", theirs: "*", varies: true, why: "no cgroup of its own where nothing is limited"},
	{field: "outside cgroup freezer", ours: "*", theirs: "*", varies: true, why: "no cgroup of its own where nothing is limited"},
}

// Our filter is the same profile, hardened.
var acceptedFilter = slices.Concat(
	[]accepted{
		{field: "seccomp socket", ours: "EPERM", theirs: "allow", why: "only unix, internet and route netlink sockets"},
		{field: "seccomp socketpair", ours: "EPERM", theirs: "allow", why: "only unix sockets come in pairs"},
		{field: "seccomp ioctl", ours: "EPERM", theirs: "allow", why: "no characters into a terminal's input"},
		{field: "seccomp setsockopt", ours: "EPERM", theirs: "allow", why: "no filters on sockets: they take memory that all share"},
		{field: "seccomp prctl", ours: "EPERM", theirs: "allow", why: "no filters of an app's own: they take memory that all share"},
		{field: "seccomp io_setup", ours: "ENOSYS", theirs: "allow", why: "contexts are counted for the whole machine"},
		{field: "seccomp setdomainname", ours: "kill the process", theirs: "allow",
			why: "the profile allows and denies: here what denies wins, for libseccomp what has no condition"},
		{field: "seccomp 32-bit getpid", ours: "kill the process", theirs: "allow", why: "one way into the kernel only"},
		{field: "seccomp x32 getpid", ours: "kill the process", theirs: "allow", why: "one way into the kernel only"},
		{field: "seccomp ARM getpid", ours: "kill the process", theirs: "kill the thread", why: "half a program is no use"},
	},
	calls("EPERM", "allow", "kernel code that an app does not need, whatever it may do",
		"bpf", "fanotify_init", "fanotify_mark", "kcmp", "memfd_secret", "modify_ldt", "perf_event_open", "pidfd_getfd", "seccomp"),
	newer(calls("allow", "ENOSYS", "libseccomp 2.5 does not know it",
		"getxattrat", "listmount", "listxattrat", "mseal", "removexattrat", "setxattrat", "statmount")),
	newer(calls("*", "ENOSYS", "libseccomp 2.5 does not know it",
		"lsm_get_self_attr", "lsm_list_modules", "lsm_set_self_attr")),
	newer(calls("allow", "EPERM", "libseccomp 2.5 does not know it", "uretprobe")),
)

func calls(ours, theirs, why string, names ...string) (rows []accepted) {
	for _, name := range names {
		rows = append(rows, accepted{field: "seccomp " + name, ours: ours, theirs: theirs, why: why})
	}
	return rows
}

// newer marks rows that a newer libseccomp does not need.
func newer(rows []accepted) []accepted {
	for i := range rows {
		rows[i].varies = true
	}
	return rows
}
