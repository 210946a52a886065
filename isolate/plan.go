package isolate

import (
	"fmt"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// A Plan is exactly what will be done to launch a sandbox, as plain data. It is
// made by [NewPlan] and prints as text, one step a line.
type Plan struct {
	ID       string  `json:"id"`
	Hostname string  `json:"hostname"`
	Network  Network `json:"network"`
	IDs      IDRange `json:"ids"`
	User     User    `json:"user"`

	// Root is where the sandbox's root is mounted, in the launch thread's own
	// mount namespace; nobody else ever sees it there. It is the template's own
	// path: the one folder that is sure to exist.
	Root string `json:"root"`

	// Steps are done before sandbox-init is forked, in this order.
	Steps []Step `json:"steps"`

	// Masked and ReadOnly are paths in /proc that sandbox-init hides and
	// protects; those in /sys are Steps.
	Masked   []string `json:"masked"`
	ReadOnly []string `json:"read_only"`

	// Capabilities are those that the program has, Seccomp the profile of its
	// filter; nil means the default one.
	Capabilities []string            `json:"capabilities"`
	Seccomp      *specs.LinuxSeccomp `json:"seccomp,omitempty"`

	// Scoped puts the program into a Landlock domain that keeps it from the
	// abstract Unix sockets and the processes of others, whatever network namespace
	// it shares. Kernels from 6.12 on have it (userspace-api/landlock.rst).
	Scoped bool `json:"scoped"`

	Cgroup      Cgroup   `json:"cgroup"`
	Rlimits     []Rlimit `json:"rlimits"`
	OOMScoreAdj int      `json:"oom_score_adj"`
	Umask       uint32   `json:"umask"`

	Args []string `json:"args"`
	Env  []string `json:"env"`
	Dir  string   `json:"dir"`
}

// A Cgroup is what the sandbox's cgroup is set to.
type Cgroup struct {
	Path       string       `json:"path"`        // below the root of every hierarchy
	Memory     int64        `json:"memory"`      // bytes
	MemorySwap int64        `json:"memory_swap"` // bytes of memory and swap together; 0: swap cannot be limited here
	Pids       int64        `json:"pids"`
	CPUQuota   int64        `json:"cpu_quota"`  // µs of CPU time a period; 0: no limit
	CPUPeriod  uint64       `json:"cpu_period"` // µs
	Devices    []DeviceRule `json:"devices"`

	// OOMGroup has the kernel kill all of the cgroup when it kills one of it for
	// memory: no app is left half dead. Only cgroup v2 can.
	OOMGroup bool `json:"oom_group"`

	// View shows the program its own cgroup, read-only, at /sys/fs/cgroup, where
	// runtimes look for their limits. Only cgroup v2, which has one tree to show.
	View bool `json:"view"`
}

// A DeviceRule allows to read and write one character device, or all of one
// major number when Minor is -1. Whatever no rule allows is denied.
type DeviceRule struct {
	Major int64 `json:"major"`
	Minor int64 `json:"minor"`
}

// An Rlimit is one resource limit of the program (getrlimit(2)).
type Rlimit struct {
	Resource int    `json:"-"`
	Name     string `json:"name"`
	Soft     uint64 `json:"soft"`
	Hard     uint64 `json:"hard"`
}

// CgroupParent is the cgroup that holds the cgroups of all sandboxes.
const CgroupParent = "/gilliam"

// landlockScopes is the first Landlock ABI with scopes.
const landlockScopes = 6

const cpuPeriod = 100_000 // µs, the kernel's default

// NewPlan decides how s is run on h. It is pure: no system call, no file, no
// clock. Its errors are [ErrInvalid] or [ErrUnsupported].
func NewPlan(s Spec, h Host) (Plan, error) {
	if err := h.Check(); err != nil {
		return Plan{}, err
	}
	if err := s.validate(); err != nil {
		return Plan{}, err
	}
	s = s.withDefaults()
	return Plan{
		ID:           s.ID,
		Hostname:     s.Hostname,
		Network:      s.Network,
		IDs:          s.IDs,
		User:         s.User,
		Root:         s.Template,
		Steps:        planSteps(s, h),
		Masked:       slices.Clone(maskedProc),
		ReadOnly:     slices.Clone(readOnlyProc),
		Capabilities: slices.Clone(s.Capabilities),
		Seccomp:      s.Seccomp,
		Scoped:       h.Landlock >= landlockScopes,
		Cgroup:       planCgroup(s, h),
		Rlimits:      planRlimits(s, h),
		OOMScoreAdj:  200,
		Umask:        0o022,
		Args:         slices.Clone(s.Args),
		Env:          slices.Clone(s.Env),
		Dir:          s.Dir,
	}, nil
}

func (s Spec) withDefaults() Spec {
	if s.Hostname == "" {
		s.Hostname = s.ID
	}
	if s.Dir == "" {
		s.Dir = "/"
	}
	if s.Network == "" {
		s.Network = NetworkNone
	}
	if s.Limits.Memory == 0 {
		s.Limits.Memory = DefaultMemory
	}
	if s.Limits.Pids == 0 {
		s.Limits.Pids = DefaultPids
	}
	return s
}

func planCgroup(s Spec, h Host) Cgroup {
	c := Cgroup{
		Path:    CgroupParent + "/" + s.ID,
		Memory:  s.Limits.Memory,
		Pids:    s.Limits.Pids,
		Devices: slices.Clone(deviceRules),

		OOMGroup: h.Cgroup == CgroupV2,
		View:     h.Cgroup == CgroupV2,
	}
	if h.SwapLimit {
		c.MemorySwap = s.Limits.Memory
	}
	if s.Limits.CPU > 0 {
		c.CPUPeriod = cpuPeriod
		c.CPUQuota = int64(s.Limits.CPU * cpuPeriod)
	}
	return c
}

// String is the plan for a person, one step a line.
func (p Plan) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "sandbox %s\n", p.ID)
	namespaces := "mount uts ipc pid user cgroup"
	if p.Network != NetworkHost {
		namespaces += " net"
	}
	fmt.Fprintf(&b, "unshare %s\n", namespaces)
	fmt.Fprintf(&b, "sethostname %s\n", p.Hostname)
	for _, s := range p.Steps {
		fmt.Fprintf(&b, "%s\n", s)
	}
	fmt.Fprintf(&b, "idmap 0-%d to %d-%d\n", p.IDs.Size-1, p.IDs.Base, p.IDs.Base+p.IDs.Size-1)
	fmt.Fprintf(&b, "cgroup %s\n", p.Cgroup)
	fmt.Fprintf(&b, "oom_score_adj %d\n", p.OOMScoreAdj)
	fmt.Fprintf(&b, "mount proc on /proc nosuid,nodev,noexec\n")
	if p.Cgroup.View {
		fmt.Fprintf(&b, "mount cgroup2 on /sys/fs/cgroup ro,nosuid,nodev,noexec\n")
	}
	fmt.Fprintf(&b, "mask %s\n", strings.Join(p.Masked, " "))
	fmt.Fprintf(&b, "read-only %s\n", strings.Join(p.ReadOnly, " "))
	fmt.Fprintf(&b, "pivot_root\n")
	for _, r := range p.Rlimits {
		fmt.Fprintf(&b, "rlimit %s %d:%d\n", r.Name, r.Soft, r.Hard)
	}
	profile := "default"
	if p.Seccomp != nil {
		profile = fmt.Sprintf("custom, %d rules", len(p.Seccomp.Syscalls))
	}
	fmt.Fprintf(&b, "capabilities %s, no_new_privs, seccomp %s\n", strings.Trim(listOrNone(p.Capabilities), "[]"), profile)
	if p.Scoped {
		fmt.Fprintf(&b, "landlock scope abstract-unix-socket signal\n")
	}
	fmt.Fprintf(&b, "setuid %d:%d umask %04o\n", p.User.UID, p.User.GID, p.Umask)
	fmt.Fprintf(&b, "exec %q in %s with %d environment variables\n", p.Args, p.Dir, len(p.Env))
	return b.String()
}

func (c Cgroup) String() string {
	s := fmt.Sprintf("%s memory=%d memory+swap=%d pids=%d", c.Path, c.Memory, c.MemorySwap, c.Pids)
	if c.CPUQuota > 0 {
		s += fmt.Sprintf(" cpu=%d/%d", c.CPUQuota, c.CPUPeriod)
	}
	if c.OOMGroup {
		s += " oom.group"
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
