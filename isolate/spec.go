package isolate

import (
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// A Spec says what is to run and what it may use. It is plain data; [NewPlan]
// checks it. Zero values are named at each field.
type Spec struct {
	// ID names the sandbox: its cgroup and its log lines. 1 to 64 characters
	// of [a-z0-9-]; callers use a UUID4.
	ID string

	// Owner says whose the sandbox is, for [Sandboxes] to tell: callers use the path
	// of their state folder. It may be empty.
	Owner string

	// Hostname is the name in the sandbox's own UTS namespace, at most 64
	// bytes. Empty means ID.
	Hostname string

	// Template is the absolute path of the shared root file system. It is the
	// overlay's lowest read-only layer and is never written to.
	Template string

	// Lowers are further read-only layers above Template, the topmost first, in the
	// form that overlayfs has for deleted files and replaced folders. Each is the
	// absolute path of a folder. Nil means none.
	Lowers []string

	// Layer is where the sandbox's own writes go.
	Layer Layer

	// Tree is the absolute path of a folder that is the sandbox's root itself,
	// writable and kept, in place of Template and Layer: a template in the making.
	// On the disk its files belong to the ids that the sandbox sees: what its root
	// makes is the host's root's. No one else may use the folder meanwhile, and it
	// is never one that is shared. Empty, as for every app, means Template and
	// Layer; no [Policy] allows it.
	Tree string

	// Binds are further host files and folders to show.
	Binds []Bind

	// Volumes are file systems to have that outlive the sandbox.
	Volumes []Volume

	// FileSystems are read-only file systems, made by others, to show.
	FileSystems []FileSystem

	// Scratch are file systems in memory to have. No mount may lie in another that
	// the sandbox may write to.
	Scratch []Scratch

	// Args is the program and its arguments. Args[0] is looked up in the
	// sandbox: as it is when it holds a slash, else along PATH of Env.
	Args []string

	// Env is the whole environment, as KEY=value.
	Env []string

	// Dir is the working directory, absolute in the sandbox. Empty means "/".
	Dir string

	// User is who the program runs as, in ids of the sandbox. Root of a sandbox
	// is nobody outside; see also [Policy].
	User User

	// Capabilities are those that the program has, in its own user namespace, by
	// their names in capabilities(7). Nil means none.
	Capabilities []string

	// Seccomp is a profile in OCI's form to use in place of the default one. What
	// sandboxes never allow is denied all the same. Nil means the default.
	Seccomp *specs.LinuxSeccomp

	// IDs is the range of host ids that the sandbox's ids 0 to IDs.Size-1 are
	// mapped to. No two sandboxes that run at once may share any.
	IDs IDRange

	// Network chooses the network namespace. Empty means [NetworkNone].
	Network Network

	// Limits are enforced by the sandbox's cgroup and rlimits.
	Limits Limits
}

// A Layer is where overlayfs keeps a sandbox's writes: in an image, or in the pair
// of folders Upper and Work. These must exist, be empty, be on one file system
// and be used by no one else.
type Layer struct {
	Upper string
	Work  string

	// Image is the absolute path of a file, alone in its folder, with the file
	// system of [Limits.Shape] in it that nobody has used. It takes Limits.Disk,
	// which only an image can enforce.
	Image string
}

// A User is a numeric identity in the sandbox. There are never
// supplementary groups.
type User struct {
	UID uint32 `json:"uid"`
	GID uint32 `json:"gid"`
}

// An IDRange is Size consecutive host ids, uids and gids alike.
type IDRange struct {
	Base uint32 `json:"base"`
	Size uint32 `json:"size"`
}

// Network says which network namespace a sandbox gets.
type Network string

const (
	// NetworkNone is a network namespace of its own with only loopback up.
	NetworkNone Network = "none"
	// NetworkHost shares the host's network, as the original hypervisor did.
	NetworkHost Network = "host"
)

// An Exit is how a sandbox's program ended.
type Exit struct {
	// Code is the exit status; 128 + Signal when a signal ended the program,
	// 127 or 126 when it could not be found or executed.
	Code int

	// Signal is the number of the signal that ended the program, or 0.
	Signal int

	// OOMKilled tells that the kernel's OOM killer acted in the sandbox.
	OOMKilled bool

	// Err is set when the program was never executed or the sandbox broke.
	Err error

	// LogErr is set when some of the output of a kept sandbox may be missing from
	// its log.
	LogErr error

	// At is when it ended.
	At time.Time
}

// Usage is what a sandbox has used, read from its cgroup.
type Usage struct {
	CPU         time.Duration // user and system time of all its processes
	Memory      uint64        // bytes charged now
	MemoryPeak  uint64        // most bytes ever charged, 0 where the kernel does not say
	MemoryLimit uint64        // bytes
	Pids        uint64        // processes and threads now
	PidsLimit   uint64
	Disk        uint64 // bytes of its layer in use; 0 of what follows where the disk has no limit, or when it has ended
	DiskLimit   uint64 // bytes
	Inodes      uint64 // files, folders and others in its layer
	InodesLimit uint64
	Volumes     []VolumeUsage
	Throttled   uint64 // periods in which it had used up its CPU and had to wait
}
