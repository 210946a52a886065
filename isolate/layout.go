package isolate

import (
	"fmt"
	"slices"
)

// overlayOptions: no redirects and no metadata-only copies, so that extended
// attributes planted in a template name nothing; volatile, because a layer is
// thrown away with its proc and needs no sync (filesystems/overlayfs.rst).
var overlayOptions = []string{"redirect_dir=nofollow", "metacopy=off", "index=off", "xino=off", "volatile"}

// devNodes are the nodes of /dev. Their numbers are those of
// admin-guide/devices.txt.
var devNodes = []Device{
	{"/dev/null", 1, 3},
	{"/dev/zero", 1, 5},
	{"/dev/full", 1, 7},
	{"/dev/random", 1, 8},
	{"/dev/urandom", 1, 9},
	{"/dev/tty", 5, 0},
}

// deviceRules are what the devices cgroup allows: the nodes, ptmx and the
// pseudo terminals.
var deviceRules = []DeviceRule{
	{1, 3}, {1, 5}, {1, 7}, {1, 8}, {1, 9}, {5, 0}, {5, 2}, {136, -1},
}

var devLinks = []Symlink{
	{"/dev/ptmx", "pts/ptmx"},
	{"/dev/fd", "/proc/self/fd"},
	{"/dev/stdin", "/proc/self/fd/0"},
	{"/dev/stdout", "/proc/self/fd/1"},
	{"/dev/stderr", "/proc/self/fd/2"},
}

// maskedProc are Docker's masked paths, systemd-nspawn's, and what else tells
// of the host, or of other sandboxes: each layer is a block device, whose counters
// are what its sandbox reads and writes.
var maskedProc = []string{
	"/proc/acpi", "/proc/apm", "/proc/asound", "/proc/cmdline", "/proc/config.gz", "/proc/diskstats", "/proc/dynamic_debug", "/proc/fb", "/proc/interrupts", "/proc/iomem",
	"/proc/kallsyms", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/modules", "/proc/partitions", "/proc/pressure",
	"/proc/sched_debug", "/proc/schedstat",
	"/proc/scsi", "/proc/timer_list", "/proc/timer_stats",
}

var readOnlyProc = []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"}

var maskedSys = []string{
	"/sys/firmware", "/sys/devices/virtual/block", "/sys/devices/virtual/dmi", "/sys/devices/virtual/powercap", "/sys/fs/bpf", "/sys/fs/erofs", "/sys/fs/ext4", "/sys/fs/selinux",
	"/sys/kernel/debug", "/sys/kernel/security", "/sys/kernel/tracing", "/sys/kernel/vmcoreinfo",
}

// planSteps lists what the launch thread does to the sandbox's files.
func planSteps(s Spec, h Host) []Step {
	steps, layer := planLayer(s)
	steps = append(steps,
		planRoot(s, layer),
		Mkdir{"/proc"}, // for sandbox-init
		Mount{"tmpfs", "/dev", []string{"mode=755", "size=64k", "nr_inodes=64"}, NoSuid | NoExec},
	)
	for _, d := range devNodes {
		steps = append(steps, d)
	}
	for _, l := range devLinks {
		steps = append(steps, l)
	}
	steps = append(steps,
		Mkdir{"/dev/pts"}, Mkdir{"/dev/shm"}, Mkdir{"/dev/mqueue"},
		Mount{"devpts", "/dev/pts", []string{"mode=620", "ptmxmode=666", fmt.Sprintf("gid=%d", s.IDs.Base+ttyGroup), maxTerminals}, NoSuid | NoExec},
		Mount{"tmpfs", "/dev/shm", scratch(64 << 20), NoSuid | NoDev | NoExec},
		Mount{"mqueue", "/dev/mqueue", nil, NoSuid | NoDev | NoExec},
		Protect{"/dev", ReadOnly},
	)
	if !s.mounts("/tmp") {
		steps = append(steps, Mount{"tmpfs", "/tmp", scratch(s.Limits.Memory / 2), NoSuid | NoDev})
	}
	steps = append(steps,
		Mount{"sysfs", "/sys", nil, ReadOnly | NoSuid | NoDev | NoExec},
	)
	for _, path := range slices.Concat(maskedSys, h.Thermal) {
		steps = append(steps, Mask{path})
	}
	return append(steps, s.mountSteps(h.Kernel)...)
}

// planRoot is the step that makes the root.
func planRoot(s Spec, layer Layer) Step {
	if s.Tree != "" {
		return BindRoot{Source: s.Tree, Flags: NoSuid | NoDev}
	}
	return MountRoot{
		Lowers: s.lowers(), Upper: layer.Upper, Work: layer.Work,
		Options: overlayOptions, Flags: NoSuid | NoDev,
	}
}

// lowers are all read-only layers, the topmost first.
func (s Spec) lowers() []string { return append(slices.Clone(s.Lowers), s.Template) }

// scratch are the options of a file system in memory for everyone. It has a file
// for each page of 4 KiB: files are kernel memory, which is the sandbox's too.
func scratch(size int64) []string {
	size &^= wholePages - 1
	return []string{"mode=1777", fmt.Sprintf("size=%d", size), fmt.Sprintf("nr_inodes=%d", size/4096)}
}

// wholePages divides what is whole pages on every kernel, which rounds sizes up to
// its own: 64 KiB is the largest.
const wholePages = 64 << 10

// maxTerminals keeps one sandbox from taking the pseudo terminals of all: the
// kernel has 3072 of them outside the host's own devpts (kernel.pty.max).
const maxTerminals = "max=64"

// ttyGroup is the group tty of Debian, which owns pseudo terminals.
const ttyGroup = 5
