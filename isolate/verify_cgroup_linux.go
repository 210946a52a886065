package isolate

import (
	"cmp"
	"errors"
	"maps"
	"path/filepath"
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
	c.io()
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
	if c.r.sandbox.host.TCPLimit {
		f["cgroup tcp"] = c.read("memory", tcpLimitFile)
	}
	if !c.r.sandbox.host.SwapLimit {
		f["cgroup swappiness"] = c.read("memory", "memory.swappiness")
	}
	f["cgroup cpu.shares"] = c.read("cpu", "cpu.shares")
	f["cgroup cpu"] = noLimit
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
	f["cgroup cpu.weight"] = c.read("", "cpu.weight")
	f["cgroup cpu"] = noLimit
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

// io reads the limits of disk I/O, those of v1 in v2's form.
func (c *cgroupReader) io() {
	f, h, plan := c.r.f, c.r.sandbox.host, c.r.sandbox.plan.Cgroup.IO
	if h.IO {
		f["cgroup io.max"] = noLimit
		if lines := c.ioMax(); len(lines) > 0 {
			f["cgroup io.max"] = strings.Join(lines, ", ")
		}
	}
	if plan.Weight == 0 {
		return
	}
	var file string
	switch {
	case h.Cgroup != CgroupV2 && exists(filepath.Join(c.r.sandbox.cgroup.Path("blkio"), "blkio.weight")):
		file = "blkio.weight"
	case h.Cgroup != CgroupV2:
		file = "blkio.bfq.weight"
	case plan.WeightBy == WeightBFQ:
		file = "io.bfq.weight"
	default:
		file = "io.weight"
	}
	// "default 100", and a line for each device that has another; or only "100".
	first, _, _ := strings.Cut(c.read(h.Cgroup.ioController(), file), "\n")
	f["cgroup io.weight"] = strings.TrimPrefix(first, "default ")
}

// ioMax are the lines of v2's io.max, or what they would be of v1's files.
func (c *cgroupReader) ioMax() []string {
	if c.r.sandbox.host.Cgroup == CgroupV2 {
		return nonEmptyLines(c.read("", "io.max"))
	}
	limits := make(map[string]map[string]string)
	for key, file := range throttleFiles {
		for _, line := range nonEmptyLines(c.read("blkio", file)) {
			device, limit, _ := strings.Cut(line, " ")
			if limits[device] == nil {
				limits[device] = make(map[string]string)
			}
			limits[device][key] = limit
		}
	}
	var lines []string
	for _, device := range slices.Sorted(maps.Keys(limits)) {
		line := device
		for _, r := range (IOLimits{}).rates() {
			line += " " + r.key + "=" + cmp.Or(limits[device][r.key], noLimit)
		}
		lines = append(lines, line)
	}
	return lines
}
