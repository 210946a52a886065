package isolate

import (
	"github.com/opencontainers/cgroups"
	devices "github.com/opencontainers/cgroups/devices/config"
	"github.com/opencontainers/runc/libcontainer/configs"
)

// Config is the plan as libcontainer's configuration, from which the cgroup
// manager takes its part and which the oracle tests run through libcontainer
// itself. Mounts are left out: libcontainer knows no idmapped overlay.
func (p Plan) Config() *configs.Config {
	ids := []configs.IDMap{{ContainerID: 0, HostID: int64(p.IDs.Base), Size: int64(p.IDs.Size)}}
	oom := p.OOMScoreAdj
	umask := p.Umask
	c := &configs.Config{
		Rootfs:          p.Root,
		Hostname:        p.Hostname,
		Umask:           &umask,
		Namespaces:      p.namespaces(),
		Capabilities:    &configs.Capabilities{},
		Cgroups:         p.Cgroup.config(),
		OomScoreAdj:     &oom,
		UIDMappings:     ids,
		GIDMappings:     ids,
		MaskPaths:       p.maskPaths(),
		ReadonlyPaths:   p.ReadOnly,
		NoNewPrivileges: true,
	}
	for _, r := range p.Rlimits {
		c.Rlimits = append(c.Rlimits, configs.Rlimit{Type: r.Resource, Soft: r.Soft, Hard: r.Hard})
	}
	return c
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

func (p Plan) maskPaths() []string {
	paths := append([]string(nil), p.Masked...)
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
		Devices:    []*devices.Rule{{Type: devices.WildcardDevice, Major: devices.Wildcard, Minor: devices.Wildcard, Permissions: "rwm"}},
	}
	for _, d := range c.Devices {
		r.Devices = append(r.Devices, &devices.Rule{
			Type: devices.CharDevice, Major: d.Major, Minor: d.Minor, Permissions: "rw", Allow: true,
		})
	}
	return &cgroups.Cgroup{Path: c.Path, Resources: r}
}
