package isolate

import "fmt"

// A Host is every fact about the machine that a [Plan] depends on. [Probe]
// reads it once, at start-up.
type Host struct {
	Kernel     Version    // of the running kernel
	Cgroup     CgroupMode // which cgroup hierarchies are mounted
	SwapLimit  bool       // the memory controller can limit swap
	TCPLimit   bool       // the memory controller counts network buffers only when they have a limit of their own
	MaxOpen    uint64     // hard RLIMIT_NOFILE of the hypervisor
	MaxMemlock uint64     // hard RLIMIT_MEMLOCK, in bytes
	UserNS     bool       // user namespaces may be made
	Root       bool       // the hypervisor has the capabilities it needs
	Overlay    bool       // overlayfs is there
	Seccomp    bool       // seccomp filters are there
	Landlock   int        // version of the Landlock ABI, 0 when there is none
	Thermal    []string   // folders in /sys that tell of other tenants by heat
	ResolvConf string     // the host's resolver configuration, symlinks followed; "" when there is none

	// SocketCgroups: the kernel tells in which cgroup a socket was made.
	SocketCgroups bool

	// Disk is where the layers are; see [ProbeDisk].
	Disk Disk

	// NoDiskLimit is why no limit of a layer can be enforced, empty where it can.
	NoDiskLimit string

	// AppArmor is the kernel's, with the profile that programs get.
	AppArmor AppArmor

	// What can be read back; see [Sandbox.Verify].
	ReadsFilters bool // seccomp programs, by ptrace
	Keys         bool // the kernel has keyrings, and shows them

	// What follows no sandbox needs; see [Host.Remarks].
	Resource bool     // the hypervisor has CAP_SYS_RESOURCE
	CorePipe string   // what core_pattern pipes core dumps to, "" when it does not
	Inotify  int64    // inotify instances of one user, fs.inotify.max_user_instances; 0 when there are none
	JITLimit int64    // bytes of machine code of all filters, net.core.bpf_jit_limit; 0 when there is no such limit
	MaxPIDs  int64    // kernel.pid_max
	Swap     bool     // there is swap
	IO       bool     // the io controller is there, blkio on v1
	Exposed  []string // flaws of the processor that the kernel does not mitigate
}

// A Version is a kernel's version, as in uname(2).
type Version struct{ Major, Minor int }

// MinKernel is the first kernel that can use idmapped layers in overlayfs.
var MinKernel = Version{5, 19}

// Before tells whether v is older than w.
func (v Version) Before(w Version) bool {
	return v.Major < w.Major || v.Major == w.Major && v.Minor < w.Minor
}

func (v Version) String() string { return fmt.Sprintf("%d.%d", v.Major, v.Minor) }

// CgroupMode names the layout below /sys/fs/cgroup.
type CgroupMode string

// The layouts of cgroups(7).
const (
	CgroupV1     CgroupMode = "v1"
	CgroupHybrid CgroupMode = "hybrid" // v1 controllers, and a v2 hierarchy without any
	CgroupV2     CgroupMode = "v2"
)

// A Disk is what the kernel can limit of the disk that a file system is on.
type Disk struct {
	Device BlockDevice // the whole disk, zero when there is no single one
	Weight string      // what shares it by weight: WeightBFQ, WeightIOCost, or "" for nothing
}

// What may share a disk by weight.
const (
	WeightBFQ    = "bfq"    // its I/O scheduler (block/bfq-iosched.rst)
	WeightIOCost = "iocost" // the io controller's own model (cgroup-v2.rst, io.cost.qos)
)

// A BlockDevice is a block device by its number. The zero one is none.
type BlockDevice struct {
	Major uint32 `json:"major"`
	Minor uint32 `json:"minor"`
}

func (d BlockDevice) String() string { return fmt.Sprintf("%d:%d", d.Major, d.Minor) }

// Check says what the host lacks to run sandboxes, or nil. Its errors are
// [ErrUnsupported] and say what to do.
func (h Host) Check() error {
	switch {
	case !h.Root:
		return fmt.Errorf("%w: the hypervisor must run as root with its full capabilities: use sudo", ErrUnsupported)
	case h.Kernel.Before(MinKernel):
		return fmt.Errorf("%w: Linux %v; a sandbox needs %v or newer, for idmapped layers in overlayfs", ErrUnsupported, h.Kernel, MinKernel)
	case !h.Overlay:
		return fmt.Errorf("%w: no overlayfs: load it with modprobe overlay", ErrUnsupported)
	case !h.UserNS:
		return fmt.Errorf("%w: no user namespaces: set sysctl user.max_user_namespaces above 0", ErrUnsupported)
	case !h.Seccomp:
		return fmt.Errorf("%w: the kernel has no seccomp filters (CONFIG_SECCOMP_FILTER)", ErrUnsupported)
	case h.Cgroup == "":
		return fmt.Errorf("%w: no cgroup hierarchy at /sys/fs/cgroup", ErrUnsupported)
	}
	return nil
}
