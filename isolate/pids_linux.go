package isolate

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/opencontainers/cgroups"
)

// launchPids is how many processes and threads must be left for a launch: its own
// thread, those that the runtime may need beside it while others block, and as many
// for launches that begin at the same time. Where the kernel refuses the Go runtime
// a thread, the whole program ends, and so the last ones are never asked for.
const launchPids = 24

// pidsLimits are where the host says how many processes there may be and how many
// there are: the hypervisor's own cgroup with those above it, and the kernel. They
// are found once: who moves the hypervisor to another cgroup starts it again.
type pidsLimits struct {
	cgroups []string // folders with pids.max and pids.current (cgroup-v2.rst, "PID")
	kernel  int      // of kernel.pid_max and kernel.threads-max the smaller; 0: not known
}

// findPidsLimits does without what it cannot read.
func findPidsLimits() (l pidsLimits) {
	groups, err := cgroups.ParseCgroupFile("/proc/self/cgroup")
	if err != nil {
		return l
	}
	const mounted = "/sys/fs/cgroup"
	root, own := mounted, groups[""]
	if path, ok := groups["pids"]; ok { // v1, hybrid too
		root, own = filepath.Join(mounted, "pids"), path
	}
	for dir := filepath.Join(root, own); len(dir) > len(root); dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "pids.max")); err == nil {
			l.cgroups = append(l.cgroups, dir)
		}
	}
	for _, file := range []string{"/proc/sys/kernel/pid_max", "/proc/sys/kernel/threads-max"} {
		if n, err := readNumber(file); err == nil && (l.kernel == 0 || n < l.kernel) {
			l.kernel = n
		}
	}
	return l
}

// check refuses a launch for which there may be too few processes left.
func (l pidsLimits) check() error {
	for _, dir := range l.cgroups {
		most, err := readNumber(filepath.Join(dir, "pids.max"))
		if err != nil {
			continue // "max"
		}
		now, err := readNumber(filepath.Join(dir, "pids.current"))
		if err == nil && now+launchPids > most {
			return fmt.Errorf("too few processes left: %w: %d of the %d that pids.max of %s allows", syscall.EAGAIN, now, most, dir)
		}
	}
	if now, ok := threadsNow(); ok && l.kernel > 0 && now+launchPids > l.kernel {
		return fmt.Errorf("too few processes left: %w: %d of the %d that kernel.pid_max and kernel.threads-max allow", syscall.EAGAIN, now, l.kernel)
	}
	return nil
}

func readNumber(path string) (int, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(b)))
}

// threadsNow is how many there are on the machine (proc_loadavg(5), the fourth field).
func threadsNow() (int, bool) {
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return 0, false
	}
	f := strings.Fields(string(b))
	if len(f) < 4 {
		return 0, false
	}
	_, total, _ := strings.Cut(f[3], "/")
	n, err := strconv.Atoi(total)
	return n, err == nil
}
