package isolate

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// probeWeaknesses reads what no sandbox needs. What cannot be read is as if it
// were not there.
func (h *Host) probeWeaknesses(status string) {
	h.Resource = hasEffective(status, unix.CAP_SYS_RESOURCE)
	h.CorePipe = corePipe(text("/proc/sys/kernel/core_pattern"))
	h.Inotify = number("/proc/sys/fs/inotify/max_user_instances")
	h.JITLimit = number("/proc/sys/net/core/bpf_jit_limit")
	h.MaxPIDs = number("/proc/sys/kernel/pid_max")
	h.Swap = hasSwap(text("/proc/swaps"))
	h.Keys = exists("/proc/keys")
	h.ReadsFilters = readsFilters(status, exists("/proc/sys/kernel/ns_last_pid"), number("/proc/sys/kernel/yama/ptrace_scope"))
	h.AppArmor = AppArmor{Enabled: text("/sys/module/apparmor/parameters/enabled") == "Y"}
	h.AppArmor.Profiles = parseProfiles(text("/sys/kernel/security/apparmor/profiles"))
	h.AppArmor, _ = h.AppArmor.Choose("") // which there always is
	h.IO = exists("/sys/fs/cgroup/blkio/blkio.throttle.read_bps_device") ||
		h.Cgroup == CgroupV2 && slices.Contains(strings.Fields(text("/sys/fs/cgroup/cgroup.controllers")), "io")
	// The pattern is well-formed.
	flaws, _ := filepath.Glob("/sys/devices/system/cpu/vulnerabilities/*")
	for _, path := range flaws {
		if strings.HasPrefix(text(path), "Vulnerable") {
			h.Exposed = append(h.Exposed, filepath.Base(path))
		}
	}
}

// readsFilters tells whether seccomp programs can be read back: the kernel keeps
// them for that with CONFIG_CHECKPOINT_RESTORE, which ns_last_pid tells; a reader
// that has a filter itself may not; and Yama can forbid ptrace to all
// (PTRACE_SECCOMP_GET_FILTER in ptrace(2), admin-guide/LSM/Yama.rst).
func readsFilters(status string, restore bool, ptraceScope int64) bool {
	return restore && strings.Contains(status, "\nSeccomp:\t0\n") && ptraceScope < 3
}

// corePipe is the program of a core_pattern that is a pipe (core(5)).
func corePipe(pattern string) string {
	rest, piped := strings.CutPrefix(pattern, "|")
	program, _, _ := strings.Cut(strings.TrimSpace(rest), " ")
	if !piped {
		return ""
	}
	return program
}

// hasSwap tells whether /proc/swaps lists any below its heading (proc_swaps(5)).
func hasSwap(swaps string) bool { return strings.Count(strings.TrimSpace(swaps), "\n") > 0 }

// text is the content of the file at path without the space around it, "" when
// it cannot be read.
func text(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// number is the number that the file at path holds, 0 when it holds none.
func number(path string) int64 {
	n, err := strconv.ParseInt(text(path), 10, 64)
	if err != nil {
		return 0
	}
	return n
}
