package isolate

import (
	"fmt"
	"strings"
)

// A Remark is something about a host that makes sandboxes on it weaker than they
// could be, or that an operator should know before strangers' code runs there.
// Sandboxes run all the same: what keeps them from it is for [Host.Check].
type Remark struct {
	About string `json:"about"` // one word for it, the same in every version
	Text  string `json:"text"`  // what it is, what follows, and what mends it
}

func (r Remark) String() string { return r.About + ": " + r.Text }

// Below these a host has too little for many sandboxes.
const (
	manySandboxes = 100      // the default size of the pool of ports
	smallJIT      = 64 << 20 // bytes; a filter takes some thousand
)

// Remarks lists what is to be said of the host, the same in the same order for
// the same host. It is pure.
func (h Host) Remarks() []Remark {
	var list []Remark
	add := func(when bool, about, format string, args ...any) {
		if when {
			list = append(list, Remark{about, fmt.Sprintf(format, args...)})
		}
	}
	add(!h.Resource, "cap_sys_resource",
		"root lacks it: no limit of an app can be above the hypervisor's own (nofile %d, memlock %d), what this allows of message queues and pending signals all apps have together, and an app may lower its oom_score_adj to the hypervisor's",
		h.MaxOpen, h.MaxMemlock)
	add(h.CorePipe != "", "core_pattern",
		"pipes core dumps to %s, as the host's root; apps have RLIMIT_CORE 1, at which the kernel does not run it", h.CorePipe)
	add(h.Inotify > 0 && h.Inotify < manySandboxes*inotifyEach, "inotify",
		"fs.inotify.max_user_instances is %d for all apps together, of which one may take %d: set it to %d for %d apps",
		h.Inotify, inotifyEach, manySandboxes*inotifyEach, manySandboxes)
	add(h.JITLimit > 0 && h.JITLimit < smallJIT, "bpf_jit",
		"net.core.bpf_jit_limit is %d bytes: when the filters of many apps have filled it, further ones start slower or not at all: raise it", h.JITLimit)
	add(h.MaxPIDs > 0 && h.MaxPIDs < 2*manySandboxes*DefaultPids, "pid_max",
		"kernel.pid_max is %d: %d apps at the default limit of %d processes take all pids of the host: raise it, or lower the limit with --max-pids",
		h.MaxPIDs, h.MaxPIDs/DefaultPids, DefaultPids)
	add(h.MaxOpen < nofileHard, "nofile",
		"the hypervisor's own hard limit of open files is %d, and no app's can be above it", h.MaxOpen)
	add(len(h.Exposed) > 0, "cpu",
		"open to %s, says /sys/devices/system/cpu/vulnerabilities: one app may learn of another's memory", strings.Join(h.Exposed, ", "))
	add(h.NoDiskLimit != "", "disk", "%s: apps have no limit of their disk, and one can fill that of all", h.NoDiskLimit)
	list = append(list, h.cgroupRemarks()...)
	add(!h.AppArmor.Enabled, "apparmor", "not in the kernel or turned off: apps have no profile beside seccomp and Landlock")
	add(h.AppArmor.Use == Unconfined, "apparmor",
		"apps run unconfined: none of the profiles %s is loaded and enforced, or --apparmor-profile says so", strings.Join(usualProfiles, ", "))
	add(h.Landlock < landlockScopes, "landlock",
		"ABI %d: from %d on (Linux 6.12) it keeps apps on the host's network from abstract Unix sockets", h.Landlock, landlockScopes)
	add(!h.ReadsFilters, "verify",
		"seccomp programs cannot be read back (this needs CONFIG_CHECKPOINT_RESTORE, ptrace, and a hypervisor without a filter of its own): that an app has one filter is verified, not which")
	return list
}

// cgroupRemarks are those about limits.
func (h Host) cgroupRemarks() []Remark {
	var list []Remark
	switch {
	case h.SwapLimit:
	case h.Swap:
		list = append(list, Remark{"swap", "there is swap and the kernel cannot limit it: an app does not swap for its own limit (memory.swappiness 0), but without bound when the host has no memory left (boot with swapaccount=1)"})
	default:
		list = append(list, Remark{"swap", "the kernel cannot limit swap (boot with swapaccount=1); there is none now"})
	}
	switch {
	case !h.IO:
		list = append(list, Remark{"io", "no io controller: limits of disk I/O are refused"})
	case h.Cgroup != CgroupV2:
		list = append(list, Remark{"io", "cgroup v1: limits of disk I/O hold for reads, direct and synchronous writes; what the kernel writes back later is not an app's there"})
	}
	return list
}
