package isolate

import (
	"cmp"
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
	// path, or the tree's: the one folder that is sure to exist.
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

	// UserLimits are what the user namespace may have of what the kernel counts for
	// it, name=value of files in /proc/sys/user.
	UserLimits []string `json:"user_limits"`

	// AppArmor is the profile that the program runs under, or [Unconfined]; empty
	// where the kernel has no AppArmor.
	AppArmor string `json:"apparmor,omitempty"`

	Cgroup      Cgroup   `json:"cgroup"`
	Rlimits     []Rlimit `json:"rlimits"`
	OOMScoreAdj int      `json:"oom_score_adj"`
	Umask       uint32   `json:"umask"`

	Args []string `json:"args"`
	Env  []string `json:"env"`
	Dir  string   `json:"dir"`
}

// An Rlimit is one resource limit of the program (getrlimit(2)).
type Rlimit struct {
	Resource int    `json:"-"`
	Name     string `json:"name"`
	Soft     uint64 `json:"soft"`
	Hard     uint64 `json:"hard"`
}

// landlockScopes is the first Landlock ABI with scopes.
const landlockScopes = 6

// NewPlan decides how s is run on h. It is pure: no system call, no file, no
// clock. Its errors are [ErrInvalid] or [ErrUnsupported].
func NewPlan(s Spec, h Host) (Plan, error) {
	if err := h.Check(); err != nil {
		return Plan{}, err
	}
	if err := s.validate(); err != nil {
		return Plan{}, err
	}
	if err := h.CheckLimits(s.Limits); err != nil {
		return Plan{}, err
	}
	if len(s.Volumes) > 0 && h.NoDiskLimit != "" {
		return Plan{}, &SpecError{"Volumes", "cannot be mounted here: " + h.NoDiskLimit}
	}
	s = s.withDefaults()
	return Plan{
		ID:           s.ID,
		Hostname:     s.Hostname,
		Network:      s.Network,
		IDs:          s.IDs,
		User:         s.User,
		Root:         cmp.Or(s.Tree, s.Template),
		Steps:        planSteps(s, h),
		Masked:       slices.Clone(maskedProc),
		ReadOnly:     slices.Clone(readOnlyProc),
		Capabilities: slices.Clone(s.Capabilities),
		Seccomp:      s.Seccomp,
		Scoped:       h.Landlock >= landlockScopes,
		UserLimits:   userLimits(),
		AppArmor:     h.AppArmor.Use,
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
	s.Limits = s.Limits.withDefaults()
	return s
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
	fmt.Fprintf(&b, "limit user namespace %s\n", strings.Join(p.UserLimits, " "))
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
	if p.AppArmor != "" {
		fmt.Fprintf(&b, "apparmor %s\n", p.AppArmor)
	}
	if p.Scoped {
		fmt.Fprintf(&b, "landlock scope abstract-unix-socket signal\n")
	}
	fmt.Fprintf(&b, "setuid %d:%d umask %04o\n", p.User.UID, p.User.GID, p.Umask)
	fmt.Fprintf(&b, "exec %q in %s with %d environment variables\n", p.Args, p.Dir, len(p.Env))
	return b.String()
}
