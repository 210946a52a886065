package isolate

import (
	"fmt"
	"slices"
	"strconv"
)

const cpuPeriod = 100_000 // µs, the kernel's default

// CgroupParent is the cgroup that holds the cgroups of all sandboxes.
const CgroupParent = "/gilliam"

// A Cgroup is what the sandbox's cgroup is set to.
type Cgroup struct {
	Path       string   `json:"path"`        // below the root of every hierarchy
	Memory     int64    `json:"memory"`      // bytes
	MemorySwap int64    `json:"memory_swap"` // bytes of memory and swap together; 0: swap cannot be limited here
	Pids       int64    `json:"pids"`
	CPUQuota   int64    `json:"cpu_quota"`  // µs of CPU time a period; 0: no limit
	CPUPeriod  uint64   `json:"cpu_period"` // µs
	CPUWeight  int64    `json:"cpu_weight"` // 1 to 10000; 100 is the kernel's default
	IO         CgroupIO `json:"io"`

	// TCPBuffers is how many bytes of buffers of TCP and UDP there may be, which
	// cgroup v1 counts only when they have a limit of their own (cgroup-v1/memory.rst,
	// 2.7.1). 0: it is not needed here, or not to be had.
	TCPBuffers int64 `json:"tcp_buffers"`

	Devices []DeviceRule `json:"devices"`

	// OOMGroup has the kernel kill all of the cgroup when it kills one of it for
	// memory: no app is left half dead. Only cgroup v2 can. On v1 OOMEvent has
	// sandbox-init do so, which the kernel tells when there is no memory left.
	OOMGroup bool `json:"oom_group"`
	OOMEvent bool `json:"oom_event"`

	// Owner is whose the sandbox is; it is written on the cgroup as [ownerAttr].
	Owner string `json:"owner,omitempty"`

	// View shows the program its own cgroup, read-only, at /sys/fs/cgroup, where
	// runtimes look for their limits. Only cgroup v2, which has one tree to show.
	View bool `json:"view"`
}

// A CgroupIO is what the sandbox may ask of one disk. Rates of zero are no limit,
// a weight of zero is the kernel's default.
type CgroupIO struct {
	Device   BlockDevice `json:"device,omitzero"`
	WeightBy string      `json:"weight_by,omitempty"` // WeightBFQ or WeightIOCost, where a weight is set
	IOLimits
}

// limited tells whether there is any limit of rate.
func (c CgroupIO) limited() bool {
	return slices.ContainsFunc(c.rates(), func(r rate) bool { return r.limit > 0 })
}

// String is as cgroup v2's io.max says it.
func (c CgroupIO) String() string {
	s := c.Device.String()
	for _, r := range c.rates() {
		limit := "max"
		if r.limit > 0 {
			limit = strconv.FormatInt(r.limit, 10)
		}
		s += " " + r.key + "=" + limit
	}
	return s
}

// kernelWeight is the weight as what shares the disk takes it: bfq knows 1 to
// 1000. The scale is systemd's (BFQ_WEIGHT in systemd's cgroup.c).
func (c CgroupIO) kernelWeight() int64 {
	if c.WeightBy != WeightBFQ || c.Weight <= DefaultWeight {
		return c.Weight
	}
	const maxBFQ = 1000
	return DefaultWeight + (c.Weight-DefaultWeight)*(maxBFQ-DefaultWeight)/(maxWeight-DefaultWeight)
}

// shares are the CPU weight in the unit of cgroup v1, whose default is 1024.
func (c Cgroup) shares() uint64 { return uint64(c.CPUWeight) * 1024 / uint64(DefaultWeight) }

// A DeviceRule allows to read and write one character device, or all of one
// major number when Minor is -1. Whatever no rule allows is denied.
type DeviceRule struct {
	Major int64 `json:"major"`
	Minor int64 `json:"minor"`
}

// String is as cgroup v1's devices.allow and devices.list say it.
func (d DeviceRule) String() string {
	minor := "*"
	if d.Minor >= 0 {
		minor = strconv.FormatInt(d.Minor, 10)
	}
	return fmt.Sprintf("c %d:%s rw", d.Major, minor)
}

func planCgroup(s Spec, h Host) Cgroup {
	c := Cgroup{
		Path:      CgroupParent + "/" + s.ID,
		Owner:     s.Owner,
		Memory:    s.Limits.Memory,
		Pids:      s.Limits.Pids,
		CPUWeight: s.Limits.CPUWeight,
		IO:        CgroupIO{IOLimits: s.Limits.IO},
		Devices:   slices.Clone(deviceRules),
		OOMGroup:  h.Cgroup == CgroupV2,
		OOMEvent:  h.Cgroup != CgroupV2,
		View:      h.Cgroup == CgroupV2,
	}
	if h.TCPLimit {
		c.TCPBuffers = s.Limits.Memory / 4 &^ (wholePages - 1)
	}
	if h.SwapLimit {
		c.MemorySwap = s.Limits.Memory
	}
	if c.IO.limited() {
		c.IO.Device = h.Disk.Device
	}
	if c.IO.Weight > 0 {
		c.IO.WeightBy = h.Disk.Weight
	}
	if s.Limits.CPU > 0 {
		c.CPUPeriod = cpuPeriod
		c.CPUQuota = int64(s.Limits.CPU * cpuPeriod)
	}
	return c
}

func (c Cgroup) String() string {
	s := fmt.Sprintf("%s memory=%d memory+swap=%d pids=%d", c.Path, c.Memory, c.MemorySwap, c.Pids)
	if c.CPUQuota > 0 {
		s += fmt.Sprintf(" cpu=%d/%d", c.CPUQuota, c.CPUPeriod)
	}
	if c.TCPBuffers > 0 {
		s += fmt.Sprintf(" tcp=%d", c.TCPBuffers)
	}
	s += fmt.Sprintf(" cpu.weight=%d", c.CPUWeight)
	if c.IO.limited() {
		s += fmt.Sprintf(" io=%q", c.IO)
	}
	if c.IO.Weight > 0 {
		s += fmt.Sprintf(" io.weight=%d (%s)", c.IO.kernelWeight(), c.IO.WeightBy)
	}
	if c.OOMGroup {
		s += " oom.group"
	}
	if c.OOMEvent {
		s += " oom.event"
	}
	s += " devices="
	for i, d := range c.Devices {
		if i > 0 {
			s += ","
		}
		if d.Minor < 0 {
			s += fmt.Sprintf("%d:*", d.Major)
		} else {
			s += fmt.Sprintf("%d:%d", d.Major, d.Minor)
		}
	}
	return s
}
