package isolate

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/profiles/seccomp"
	"github.com/opencontainers/cgroups"
	devices "github.com/opencontainers/cgroups/devices/config"
	"github.com/opencontainers/runc/libcontainer/configs"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// Config is the plan as libcontainer's configuration, from which the cgroup
// manager takes its part and which the oracle tests run through libcontainer
// itself. Five things of a plan it cannot say:
//
//   - the root: libcontainer mounts no overlay and idmaps no root, so whoever
//     runs the configuration mounts one on Rootfs first;
//   - mount points in a read-only bind, which an overlay is for as well;
//   - volumes, for which it makes no loop devices;
//   - what harden adds to the seccomp profile: its rules are tried in order,
//     libseccomp's are not;
//   - /sys beside the host's network: libcontainer would mount it as root of the
//     sandbox, who owns no network namespace then, and be refused.
func (p Plan) Config() (*configs.Config, error) {
	filter, err := p.seccomp()
	if err != nil {
		return nil, err
	}
	oom, umask := p.OOMScoreAdj, p.Umask
	c := &configs.Config{
		Rootfs:          p.Root,
		Hostname:        p.Hostname,
		Umask:           &umask,
		Namespaces:      p.namespaces(),
		Mounts:          p.mounts(),
		Devices:         p.devices(),
		Capabilities:    p.capabilities(),
		Cgroups:         p.Cgroup.config(),
		OomScoreAdj:     &oom,
		UIDMappings:     p.IDs.config(),
		GIDMappings:     p.IDs.config(),
		MaskPaths:       p.maskPaths(),
		ReadonlyPaths:   slices.Clone(p.ReadOnly),
		Seccomp:         filter,
		NoNewPrivileges: true,
	}
	if p.AppArmor != Unconfined {
		c.AppArmorProfile = p.AppArmor
	}
	if p.Network != NetworkHost {
		c.Networks = []*configs.Network{{Type: "loopback"}}
	}
	for _, r := range p.Rlimits {
		c.Rlimits = append(c.Rlimits, configs.Rlimit{Type: r.Resource, Soft: r.Soft, Hard: r.Hard})
	}
	return c, nil
}

func (p Plan) namespaces() configs.Namespaces {
	ns := configs.Namespaces{
		{Type: configs.NEWNS}, {Type: configs.NEWUTS}, {Type: configs.NEWIPC},
		{Type: configs.NEWPID}, {Type: configs.NEWUSER}, {Type: configs.NEWCGROUP},
	}
	if p.Network != NetworkHost {
		ns = append(ns, configs.Namespace{Type: configs.NEWNET})
	}
	return ns
}

// capabilities are the program's in libcontainer's five sets. Root has them by
// being root, another user by way of the ambient set.
func (p Plan) capabilities() *configs.Capabilities {
	c := &configs.Capabilities{
		Bounding: slices.Clone(p.Capabilities), Effective: slices.Clone(p.Capabilities), Permitted: slices.Clone(p.Capabilities),
	}
	if p.User.UID != 0 {
		c.Inheritable, c.Ambient = slices.Clone(p.Capabilities), slices.Clone(p.Capabilities)
	}
	return c
}

func (r IDRange) config() []configs.IDMap {
	return []configs.IDMap{{ContainerID: 0, HostID: int64(r.Base), Size: int64(r.Size)}}
}

// noSource is what mount tables show as the source of a file system without one.
const noSource = "none"

// mounts are those of the steps, and those that sandbox-init makes.
func (p Plan) mounts() []*configs.Mount {
	mounts := []*configs.Mount{{
		Source: noSource, Device: "proc", Destination: "/proc", Flags: (NoSuid | NoDev | NoExec).ms(),
	}}
	for _, step := range p.Steps {
		switch s := step.(type) {
		case Mount:
			mounts = append(mounts, &configs.Mount{
				Source: noSource, Device: s.Type, Destination: s.Target,
				Flags: s.Flags.ms(), Data: p.mountData(s),
			})
		case BindStep:
			m := &configs.Mount{
				Source: s.Source, Device: "bind", Destination: s.Target, Flags: unix.MS_BIND | s.Flags.ms(),
			}
			if s.IDMapped {
				m.IDMapping = &configs.MountIDMapping{UIDMappings: p.IDs.config(), GIDMappings: p.IDs.config()}
			}
			mounts = append(mounts, m)
		case Protect:
			for _, m := range mounts {
				if m.Destination == s.Path {
					m.Flags |= s.Flags.ms()
				}
			}
		}
	}
	if p.Cgroup.View {
		mounts = append(mounts, &configs.Mount{
			Source: noSource, Device: "cgroup", Destination: "/sys/fs/cgroup", Flags: (ReadOnly | NoSuid | NoDev | NoExec).ms(),
		})
	}
	return mounts
}

// mountData is the options of a mount. The launch thread mounts with ids of the
// host, libcontainer with those of the sandbox.
func (p Plan) mountData(m Mount) string {
	options := make([]string, 0, len(m.Options))
	for _, o := range m.Options {
		key, value, _ := strings.Cut(o, "=")
		if id, err := strconv.ParseUint(value, 10, 32); err == nil && (key == "uid" || key == "gid") {
			o = fmt.Sprintf("%s=%d", key, uint32(id)-p.IDs.Base)
		}
		options = append(options, o)
	}
	return strings.Join(options, ",")
}

// ms are f as mount(2) wants them.
func (f MountFlags) ms() int {
	var flags int
	for bit, flag := range map[MountFlags]int{
		ReadOnly: unix.MS_RDONLY, NoSuid: unix.MS_NOSUID, NoDev: unix.MS_NODEV, NoExec: unix.MS_NOEXEC,
	} {
		if f&bit != 0 {
			flags |= flag
		}
	}
	return flags
}

func (p Plan) devices() []*devices.Device {
	var nodes []*devices.Device
	for _, step := range p.Steps {
		if d, ok := step.(Device); ok {
			nodes = append(nodes, &devices.Device{
				Rule: charDevice(int64(d.Major), int64(d.Minor)), Path: d.Path, FileMode: 0o666,
			})
		}
	}
	return nodes
}

// charDevice allows to read and write a character device.
func charDevice(major, minor int64) devices.Rule {
	return devices.Rule{Type: devices.CharDevice, Major: major, Minor: minor, Permissions: "rw", Allow: true}
}

func (p Plan) maskPaths() []string {
	paths := slices.Clone(p.Masked)
	for _, s := range p.Steps {
		if m, ok := s.(Mask); ok {
			paths = append(paths, m.Path)
		}
	}
	return paths
}

// config is the cgroup as the cgroup manager wants it.
func (c Cgroup) config() *cgroups.Cgroup {
	pids := c.Pids
	r := &cgroups.Resources{
		Memory:     c.Memory,
		MemorySwap: c.MemorySwap,
		PidsLimit:  &pids,
		CpuQuota:   c.CPUQuota,
		CpuPeriod:  c.CPUPeriod,
		CpuWeight:  uint64(c.CPUWeight),
		Devices:    []*devices.Rule{{Type: devices.WildcardDevice, Major: devices.Wildcard, Minor: devices.Wildcard, Permissions: "rwm"}},
	}
	for _, d := range c.Devices {
		rule := charDevice(d.Major, d.Minor)
		r.Devices = append(r.Devices, &rule)
	}
	if c.CPUWeight != DefaultWeight { // which v1 has without
		r.CpuShares = c.shares()
	}
	if c.MemorySwap == 0 { // v1 can at least be told not to swap as long as there is memory
		r.MemorySwappiness = new(uint64)
	}
	unified := make(map[string]string)
	if c.OOMGroup {
		unified["memory.oom.group"] = "1"
	}
	c.IO.config(r, unified)
	if len(unified) > 0 {
		r.Unified = unified
	}
	return &cgroups.Cgroup{Path: c.Path, Resources: r}
}

// config adds the limits of I/O. The io controller's own weight goes to v2's file
// as it is: the manager would take it for one of v1's.
func (c CgroupIO) config(r *cgroups.Resources, unified map[string]string) {
	switch c.WeightBy {
	case WeightBFQ:
		r.BlkioWeight = uint16(c.kernelWeight())
	case WeightIOCost:
		unified["io.weight"] = strconv.FormatInt(c.Weight, 10)
	}
	lists := []*[]*cgroups.ThrottleDevice{
		&r.BlkioThrottleReadBpsDevice, &r.BlkioThrottleWriteBpsDevice,
		&r.BlkioThrottleReadIOPSDevice, &r.BlkioThrottleWriteIOPSDevice,
	}
	for i, rate := range c.rates() {
		if rate.limit > 0 {
			*lists[i] = append(*lists[i], cgroups.NewThrottleDevice(int64(c.Device.Major), int64(c.Device.Minor), uint64(rate.limit)))
		}
	}
}

// seccomp is the profile that the sandbox's filter begins with.
func (p Plan) seccomp() (*configs.Seccomp, error) {
	profile := p.Seccomp
	if profile == nil {
		var err error
		profile, err = seccomp.GetDefaultProfile(&specs.Spec{
			Process: &specs.Process{Capabilities: &specs.LinuxCapabilities{Bounding: p.Capabilities}},
		})
		if err != nil {
			return nil, fmt.Errorf("default seccomp profile: %w", err)
		}
	}
	action, ok := seccompActions[profile.DefaultAction]
	if !ok {
		return nil, fmt.Errorf("seccomp profile: action %q is not supported", profile.DefaultAction)
	}
	c := &configs.Seccomp{DefaultAction: action, DefaultErrnoRet: profile.DefaultErrnoRet}
	for _, a := range profile.Architectures {
		c.Architectures = append(c.Architectures, strings.ToLower(strings.TrimPrefix(string(a), "SCMP_ARCH_")))
	}
	for _, rule := range profile.Syscalls {
		action, ok := seccompActions[rule.Action]
		if !ok {
			return nil, fmt.Errorf("seccomp rule %v: action %q is not supported", rule.Names, rule.Action)
		}
		var args []*configs.Arg
		for _, a := range rule.Args {
			op, ok := seccompOperators[a.Op]
			if !ok {
				return nil, fmt.Errorf("seccomp rule %v: operator %q is not supported", rule.Names, a.Op)
			}
			args = append(args, &configs.Arg{Index: a.Index, Value: a.Value, ValueTwo: a.ValueTwo, Op: op})
		}
		for _, name := range rule.Names {
			c.Syscalls = append(c.Syscalls, &configs.Syscall{Name: name, Action: action, ErrnoRet: rule.ErrnoRet, Args: args})
		}
	}
	return c, nil
}

var seccompActions = map[specs.LinuxSeccompAction]configs.Action{
	specs.ActAllow: configs.Allow, specs.ActErrno: configs.Errno, specs.ActKill: configs.Kill,
	specs.ActKillProcess: configs.KillProcess, specs.ActKillThread: configs.KillThread,
}

var seccompOperators = map[specs.LinuxSeccompOperator]configs.Operator{
	specs.OpEqualTo: configs.EqualTo, specs.OpNotEqual: configs.NotEqualTo, specs.OpMaskedEqual: configs.MaskEqualTo,
	specs.OpGreaterThan: configs.GreaterThan, specs.OpGreaterEqual: configs.GreaterThanOrEqualTo,
	specs.OpLessThan: configs.LessThan, specs.OpLessEqual: configs.LessThanOrEqualTo,
}
