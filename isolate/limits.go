package isolate

import (
	"fmt"
	"math"

	"github.com/gilliam/hypervisor/isolate/ext4"
)

// Limits bound what a sandbox may use. The JSON is the API's.
type Limits struct {
	Memory    int64         `json:"memory,omitempty"`     // bytes, swap included; 0 means DefaultMemory
	Pids      int64         `json:"pids,omitempty"`       // processes and threads; 0 means DefaultPids
	CPU       float64       `json:"cpu,omitempty"`        // CPUs, 1.5 is one and a half; 0 means no limit
	CPUWeight int64         `json:"cpu_weight,omitempty"` // share of contended CPU time, as cgroup v2's cpu.weight; 0 means DefaultWeight
	Disk      int64         `json:"disk,omitempty"`       // bytes of the layer; 0 means no limit, which needs a Layer without an image
	Inodes    int64         `json:"inodes,omitempty"`     // files, folders and others in the layer; 0 means one for each 16 KiB of Disk
	IO        IOLimits      `json:"io,omitzero"`
	Rlimits   ProcessLimits `json:"rlimits,omitzero"`
}

// IOLimits bound what a sandbox reads from and writes to the disk of its layer,
// whatever is cached aside. Zero means no limit.
type IOLimits struct {
	Weight    int64 `json:"weight,omitempty"`    // share of contended disk time, as cgroup v2's io.weight; 0 means DefaultWeight
	ReadBPS   int64 `json:"read_bps,omitempty"`  // bytes a second
	WriteBPS  int64 `json:"write_bps,omitempty"` // bytes a second
	ReadIOPS  int64 `json:"read_iops,omitempty"` // operations a second
	WriteIOPS int64 `json:"write_iops,omitempty"`
}

// ProcessLimits are resource limits of each of a sandbox's processes, soft and
// hard alike (getrlimit(2)).
type ProcessLimits struct {
	Nofile  int64 `json:"nofile,omitempty"`  // open files; 0 means 1024, which a process may raise to 16384
	Nproc   int64 `json:"nproc,omitempty"`   // processes and threads of one user; 0 means Limits.Pids
	Memlock int64 `json:"memlock,omitempty"` // bytes of locked memory; 0 means 64 KiB
	Fsize   int64 `json:"fsize,omitempty"`   // bytes of a file; 0 means no limit
}

// Limits that a Spec gets when it names none, and the bounds of what it may name.
const (
	DefaultMemory int64 = 1 << 30 // as the original: 1 GiB
	DefaultPids   int64 = 512
	DefaultWeight int64 = 100 // the kernel's

	// DefaultDisk is what whoever makes layers gives those that name no limit. A Spec
	// without one has none.
	DefaultDisk int64 = 1 << 30

	// MinMemory is what sandbox-init and a small program need at least.
	MinMemory int64 = 16 << 20

	// minBPS is what a program needs at least to be read in a bearable time.
	minBPS = 64 << 10

	// minNofile is what sandbox-init needs, which has the same limit as the program,
	// and minFsize what it must be able to keep of the program's output.
	minNofile = 64
	minFsize  = 16 << 20

	maxMemory = math.MaxInt64 / 2
	maxPids   = 1 << 22 // PID_MAX_LIMIT
	maxWeight = 10000
	maxNofile = 1 << 20 // fs.nr_open as the kernel sets it
)

// Check says what is wrong with the limits in themselves, as a [SpecError].
func (l Limits) Check() error {
	for _, c := range []struct {
		wrong         bool
		field, detail string
	}{
		{l.Memory < 0 || l.Memory != 0 && l.Memory < MinMemory || l.Memory > maxMemory,
			"Memory", "must be at least 16777216 bytes (16 MiB), or 0 for the default of 1 GiB"},
		{l.Pids < 0 || l.Pids > maxPids, "Pids", "must be 1 to 4194304, or 0 for the default of 512"},
		{l.CPU < 0 || math.IsNaN(l.CPU) || l.CPU > 4096 || l.CPU != 0 && l.CPU < 0.01,
			"CPU", "must be 0.01 to 4096 CPUs, or 0 for no limit"},
		{l.CPUWeight < 0 || l.CPUWeight > maxWeight, "CPUWeight", "must be 1 to 10000, or 0 for the default of 100"},
		{l.Disk != 0 && (l.Disk < ext4.MinBytes || l.Disk > ext4.MaxBytes), "Disk", "must be 1048576 bytes (1 MiB) to 8796093022208 (8 TiB)"},
		{l.Inodes != 0 && l.Disk == 0, "Inodes", "must come with a limit of the disk"},
		{l.Inodes != 0 && (l.Inodes < ext4.MinInodes || l.Inodes > min(l.Disk/ext4.BlockSize, ext4.MaxInodes)), "Inodes", "must be 32 to one for each 4096 bytes of the disk, at most 2147483647"},
		{l.IO.Weight < 0 || l.IO.Weight > maxWeight, "IO.Weight", "must be 1 to 10000, or 0 for the default of 100"},
		{l.IO.ReadBPS < 0 || l.IO.ReadBPS != 0 && l.IO.ReadBPS < minBPS, "IO.ReadBPS", "must be at least 65536 bytes a second, or 0 for no limit"},
		{l.IO.WriteBPS < 0 || l.IO.WriteBPS != 0 && l.IO.WriteBPS < minBPS, "IO.WriteBPS", "must be at least 65536 bytes a second, or 0 for no limit"},
		{l.IO.ReadIOPS < 0 || l.IO.ReadIOPS > math.MaxUint32, "IO.ReadIOPS", "must be 1 to 4294967295 a second, or 0 for no limit"},
		{l.IO.WriteIOPS < 0 || l.IO.WriteIOPS > math.MaxUint32, "IO.WriteIOPS", "must be 1 to 4294967295 a second, or 0 for no limit"},
		{l.Rlimits.Nofile < 0 || l.Rlimits.Nofile != 0 && l.Rlimits.Nofile < minNofile || l.Rlimits.Nofile > maxNofile,
			"Rlimits.Nofile", "must be 64 to 1048576, or 0 for the default"},
		{l.Rlimits.Nproc < 0 || l.Rlimits.Nproc > l.withDefaults().Pids, "Rlimits.Nproc", "must be 1 to the limit of pids, or 0 for that"},
		{l.Rlimits.Memlock < 0, "Rlimits.Memlock", "must be a number of bytes, or 0 for the default of 64 KiB"},
		{l.Rlimits.Fsize < 0 || l.Rlimits.Fsize != 0 && l.Rlimits.Fsize < minFsize,
			"Rlimits.Fsize", "must be at least 16777216 bytes (16 MiB), or 0 for no limit"},
	} {
		if c.wrong {
			return &SpecError{"Limits." + c.field, c.detail}
		}
	}
	return nil
}

func (l Limits) withDefaults() Limits {
	if l.Memory == 0 {
		l.Memory = DefaultMemory
	}
	if l.Pids == 0 {
		l.Pids = DefaultPids
	}
	if l.CPUWeight == 0 {
		l.CPUWeight = DefaultWeight
	}
	return l
}

// CheckLimits says what of l this host cannot enforce, as a [SpecError]: a limit
// that is asked for and not enforced would be worse than none. It is pure.
func (h Host) CheckLimits(l Limits) error {
	bad := func(field, format string, args ...any) error {
		return &SpecError{"Limits." + field, "cannot be enforced here: " + fmt.Sprintf(format, args...)}
	}
	for _, rate := range l.IO.rates() {
		switch {
		case rate.limit == 0:
		case !h.IO:
			return bad("IO."+rate.field, "the kernel has no io controller (blkio on cgroup v1)")
		case h.Disk.Device == BlockDevice{}:
			return bad("IO."+rate.field, "the file system of the layers is on no single disk that the kernel could limit")
		}
	}
	if l.IO.Weight != 0 && (!h.IO || h.Disk.Weight == "") {
		return bad("IO.Weight", "only the scheduler bfq, or io.cost.qos of cgroup v2, shares a disk by weight, and the disk of the layers has neither")
	}
	if l.Disk != 0 && h.NoDiskLimit != "" {
		return bad("Disk", "%s", h.NoDiskLimit)
	}
	if n := uint64(l.Rlimits.Nofile); n > h.MaxOpen {
		return bad("Rlimits.Nofile", "it is above the hypervisor's own hard limit of %d", h.MaxOpen)
	}
	if n := uint64(l.Rlimits.Memlock); n > h.MaxMemlock && !h.Resource {
		return bad("Rlimits.Memlock", "it is above the hypervisor's own hard limit of %d bytes", h.MaxMemlock)
	}
	return nil
}

// A rate is one of the four rates of IOLimits.
type rate struct {
	field string // of IOLimits
	key   string // in cgroup v2's io.max
	limit int64
}

// rates are in the order in which io.max shows them.
func (l IOLimits) rates() []rate {
	return []rate{
		{"ReadBPS", "rbps", l.ReadBPS}, {"WriteBPS", "wbps", l.WriteBPS},
		{"ReadIOPS", "riops", l.ReadIOPS}, {"WriteIOPS", "wiops", l.WriteIOPS},
	}
}
