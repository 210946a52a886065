package isolate

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/opencontainers/cgroups"
	"golang.org/x/sys/unix"
)

// Probe reads the facts about this machine. It fails only where a fact cannot
// be read; whether the facts suffice is for [Host.Check] to say.
func Probe() (Host, error) {
	var uts unix.Utsname
	if err := unix.Uname(&uts); err != nil {
		return Host{}, fmt.Errorf("uname: %w", err)
	}
	kernel, err := parseRelease(unix.ByteSliceToString(uts.Release[:]))
	if err != nil {
		return Host{}, err
	}
	filesystems, err := os.ReadFile("/proc/filesystems")
	if err != nil {
		return Host{}, err
	}
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return Host{}, err
	}
	h := Host{
		Kernel:     kernel,
		Cgroup:     probeCgroup(),
		MaxOpen:    hardLimit(unix.RLIMIT_NOFILE),
		MaxMemlock: hardLimit(unix.RLIMIT_MEMLOCK),
		UserNS:     positive("/proc/sys/user/max_user_namespaces"),
		Overlay:    bytes.Contains(filesystems, []byte("\toverlay\n")),
		Seccomp:    exists("/proc/sys/kernel/seccomp/actions_avail"),
		Root:       os.Geteuid() == 0 && hasEffective(string(status), needed...),
		Landlock:   landlockVersion(),

		SocketCgroups: socketCgroups(),
	}
	h.probeWeaknesses(string(status))
	h.NoDiskLimit = probeDiskLimit()
	h.SwapLimit = exists("/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes") || h.Cgroup == CgroupV2 && exists("/proc/swaps")
	h.TCPLimit = exists("/sys/fs/cgroup/memory/memory.kmem.tcp.limit_in_bytes")
	// GHSA-6fw5-f8r9-fgfm of Docker. The pattern is well-formed.
	h.Thermal, _ = filepath.Glob("/sys/devices/system/cpu/cpu[0-9]*/thermal_throttle")
	if path, err := filepath.EvalSymlinks("/etc/resolv.conf"); err == nil {
		h.ResolvConf = path
	}
	return h, nil
}

func parseRelease(release string) (Version, error) {
	var v Version
	if _, err := fmt.Sscanf(release, "%d.%d", &v.Major, &v.Minor); err != nil {
		return v, fmt.Errorf("kernel release %q: %w", release, err)
	}
	return v, nil
}

func probeCgroup() CgroupMode {
	switch {
	case cgroups.IsCgroup2UnifiedMode():
		return CgroupV2
	case cgroups.IsCgroup2HybridMode():
		return CgroupHybrid
	case exists("/sys/fs/cgroup/memory/cgroup.procs"):
		return CgroupV1
	}
	return ""
}

// needed are the capabilities without which no sandbox can be made.
var needed = []int{
	unix.CAP_SYS_ADMIN, unix.CAP_SETUID, unix.CAP_SETGID, unix.CAP_CHOWN, unix.CAP_MKNOD,
	unix.CAP_DAC_OVERRIDE, unix.CAP_FOWNER, unix.CAP_KILL, unix.CAP_SYS_PTRACE, unix.CAP_SETPCAP,
}

// hasEffective tells whether a process has all of the capabilities in effect, from
// its status (proc_pid_status(5)).
func hasEffective(status string, all ...int) bool {
	_, rest, ok := strings.Cut(status, "CapEff:")
	if !ok {
		return false
	}
	line, _, _ := strings.Cut(rest, "\n")
	effective, err := strconv.ParseUint(strings.TrimSpace(line), 16, 64)
	if err != nil {
		return false
	}
	for _, c := range all {
		if effective&(1<<c) == 0 {
			return false
		}
	}
	return true
}

func hardLimit(resource int) uint64 {
	var limit unix.Rlimit
	if unix.Getrlimit(resource, &limit) != nil {
		return 0
	}
	return limit.Max
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// positive tells whether the file at path holds a number above zero.
func positive(path string) bool { return number(path) > 0 }

// landlockVersion is the version of the kernel's Landlock ABI
// (landlock_create_ruleset(2), LANDLOCK_CREATE_RULESET_VERSION).
func landlockVersion() int {
	version, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 {
		return 0
	}
	return int(version)
}
