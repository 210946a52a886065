package isolate

import (
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/cgroups"
)

// cgroup reads which cgroup the process is in, in every hierarchy that the
// sandbox has a cgroup in, and what its limits are.
func (r *factReader) cgroup() error {
	text, err := r.file("cgroup")
	if err != nil {
		return err
	}
	joined := r.sandbox.cgroup.GetPaths()
	paths := make(map[string]bool)
	for line := range strings.Lines(text) {
		f := strings.SplitN(strings.TrimSpace(line), ":", 3) // hierarchy:controllers:path
		if len(f) < 3 {
			continue
		}
		for controller := range strings.SplitSeq(f[1], ",") {
			if _, ok := joined[controller]; ok {
				paths[f[2]] = true
			}
		}
	}
	r.f["cgroup"] = strings.Join(slices.Sorted(maps.Keys(paths)), " ")
	c := cgroupReader{r: r}
	if r.sandbox.host.Cgroup == CgroupV2 {
		c.v2()
	} else {
		c.v1()
	}
	return c.err
}

// A cgroupReader reads the files of the sandbox's cgroup, until the first error.
type cgroupReader struct {
	r   *factReader
	err error
}

// read is the content of one file, of one v1 controller.
func (c *cgroupReader) read(controller, file string) string {
	if c.err != nil {
		return ""
	}
	var text string
	text, c.err = cgroups.ReadFile(c.r.sandbox.cgroup.Path(controller), file)
	return strings.TrimSpace(text)
}

func (c *cgroupReader) v1() {
	f := c.r.f
	f["cgroup memory"] = c.read("memory", "memory.limit_in_bytes")
	f["cgroup pids"] = c.read("pids", "pids.max")
	if c.r.sandbox.host.SwapLimit {
		f["cgroup memory+swap"] = c.read("memory", "memory.memsw.limit_in_bytes")
	}
	f["cgroup cpu"] = "max"
	if quota := c.read("cpu", "cpu.cfs_quota_us"); quota != "-1" {
		f["cgroup cpu"] = quota + "/" + c.read("cpu", "cpu.cfs_period_us")
	}
	rules := strings.Split(c.read("devices", "devices.list"), "\n")
	slices.Sort(rules)
	f["cgroup devices"] = strings.Join(rules, ", ")
}

func (c *cgroupReader) v2() {
	f := c.r.f
	f["cgroup memory"] = c.read("", "memory.max")
	f["cgroup pids"] = c.read("", "pids.max")
	f["cgroup oom.group"] = c.read("", "memory.oom.group")
	f["cgroup cpu"] = "max"
	if quota, period, ok := strings.Cut(c.read("", "cpu.max"), " "); ok && quota != "max" {
		f["cgroup cpu"] = quota + "/" + period
	}
	if c.r.sandbox.host.SwapLimit {
		swap := c.read("", "memory.swap.max") // of swap alone
		memory, err1 := strconv.ParseInt(f["cgroup memory"], 10, 64)
		more, err2 := strconv.ParseInt(swap, 10, 64)
		f["cgroup memory+swap"] = swap
		if errors.Join(err1, err2) == nil {
			f["cgroup memory+swap"] = strconv.FormatInt(memory+more, 10)
		}
	}
}
