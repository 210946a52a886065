package isolate

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/opencontainers/cgroups"
	_ "github.com/opencontainers/cgroups/devices" // the device rules of both cgroup versions
	"github.com/opencontainers/cgroups/manager"
	"golang.org/x/sys/unix"
)

// setting keeps launches from setting limits at the same time: the v1 blkio
// controller of the cgroups package, one for all managers, keeps what it finds
// out the first time (fs.BlkioGroup.detectWeightFilenames in v0.1.0).
var setting sync.Mutex

const tcpLimitFile = "memory.kmem.tcp.limit_in_bytes"

// newCgroup makes the cgroup and sets its limits, before any process is in it.
func newCgroup(c Cgroup) (cgroups.Manager, error) {
	m, err := managerOf(c)
	if err != nil {
		return nil, err
	}
	if err := makeCgroup(m); err != nil {
		return nil, fmt.Errorf("make cgroup %s: %w", c.Path, err)
	}
	if err := markOwner(m, c.Owner); err != nil {
		return nil, errors.Join(fmt.Errorf("mark cgroup %s: %w", c.Path, err), m.Destroy())
	}
	if err := limitCgroup(m, c); err != nil {
		return nil, errors.Join(fmt.Errorf("set limits of cgroup %s: %w", c.Path, err), m.Destroy())
	}
	return m, nil
}

// limitCgroup sets the limits of a cgroup that was just made.
func limitCgroup(m cgroups.Manager, c Cgroup) error {
	r := c.config().Resources
	if !cgroups.IsCgroup2UnifiedMode() {
		if err := limitDevices(m.Path("devices"), c.Devices); err != nil {
			return err
		}
		r.SkipDevices = true
	}
	setting.Lock()
	defer setting.Unlock()
	if err := m.Set(r); err != nil {
		return err
	}
	if c.TCPBuffers == 0 {
		return nil
	}
	return cgroups.WriteFile(m.Path("memory"), tcpLimitFile, strconv.FormatInt(c.TCPBuffers, 10))
}

// limitDevices denies every device in a v1 cgroup but those of the rules
// (cgroup-v1/devices.rst). The cgroup manager would read before and after what
// is allowed; here it is new, and nobody else's.
func limitDevices(dir string, rules []DeviceRule) error {
	if err := writeLines(dir+"/devices.deny", "a"); err != nil {
		return err
	}
	lines := make([]string, len(rules))
	for i, r := range rules {
		lines[i] = r.String()
	}
	return writeLines(dir+"/devices.allow", lines...)
}

// joinCgroup puts the calling thread into the cgroup's v1 hierarchies, so that
// what it forks is born in them, and opens the v2 one, nil where there is none,
// for clone3(2) to start the child in (CLONE_INTO_CGROUP).
//
// Moving a whole process takes the kernel's cgroup_threadgroup_rwsem and with it
// an RCU grace period in every hierarchy: 1.4 ms for ten of them, where a thread
// that moves itself takes no lock (cgroup_procs_write_start in
// kernel/cgroup/cgroup.c). The thread ends right after the fork.
func joinCgroup(m cgroups.Manager) (unified *os.File, err error) {
	for controller, dir := range m.GetPaths() {
		if controller == "" {
			unified, err = os.Open(dir)
		} else {
			err = writeLines(dir+"/tasks", "0")
		}
		if err != nil {
			if unified != nil {
				unified.Close()
			}
			return nil, err
		}
	}
	return unified, nil
}

// writeLines writes to a file of a cgroup, one write for each line.
func writeLines(path string, lines ...string) error {
	fd, err := unix.Open(path, unix.O_WRONLY|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(fd)
	for _, line := range lines {
		if _, err := unix.Write(fd, []byte(line)); err != nil {
			return fmt.Errorf("%w: %q", &os.PathError{Op: "write", Path: path, Err: err}, line)
		}
	}
	return nil
}

// usage reads what the cgroup's processes have used.
func usage(m cgroups.Manager) (Usage, error) {
	s, err := m.Stats(&cgroups.StatsOptions{Controllers: cgroups.CPU | cgroups.Memory | cgroups.Pids})
	if err != nil {
		return Usage{}, err
	}
	mem := s.MemoryStats.Usage
	return Usage{
		CPU:         time.Duration(s.CpuStats.CpuUsage.TotalUsage),
		Memory:      mem.Usage,
		MemoryPeak:  mem.MaxUsage,
		MemoryLimit: mem.Limit,
		Pids:        s.PidsStats.Current,
		PidsLimit:   s.PidsStats.Limit,
		Throttled:   s.CpuStats.ThrottlingData.ThrottledPeriods,
	}, nil
}

// RemoveCgroup kills every process in the cgroup of the sandbox id and removes
// it: what a hypervisor that was killed may have left. A cgroup that is not
// there is no error.
func RemoveCgroup(id string) error {
	if !validID.MatchString(id) {
		return &SpecError{"ID", "must be 1 to 64 of a-z, 0-9 and -"}
	}
	m, err := manager.New(Cgroup{Path: CgroupParent + "/" + id}.config())
	if err != nil {
		return fmt.Errorf("cgroup of %s: %w", id, err)
	}
	killCgroup(m, true)
	if err := m.Destroy(); err != nil {
		return fmt.Errorf("remove cgroup of %s: %w", id, err)
	}
	return nil
}

// removeCgroupParent removes the parent of all sandboxes' cgroups unless one is
// left in it, another hypervisor's perhaps.
func removeCgroupParent() {
	m, err := manager.New(Cgroup{Path: CgroupParent}.config())
	if err != nil {
		return
	}
	for _, dir := range m.GetPaths() {
		_ = unix.Rmdir(dir)
	}
}
