package proc

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"

	"github.com/google/uuid"

	"github.com/gilliam/hypervisor/isolate"
	"github.com/gilliam/hypervisor/rootfs"
	"github.com/gilliam/hypervisor/rootfs/oci"
)

// ErrNotRunning is a proc that must run for what was asked, and does not.
var ErrNotRunning = errors.New("the proc is not running")

// appDir is where an app's image is, its home and its working directory.
const appDir = "/app"

// Plan says how a request would be launched, and launches nothing: no port, id
// or layer is taken and no image fetched. What only a launch would choose is
// the first of its pool.
func (m *Manager) Plan(ctx context.Context, r Request) (isolate.Plan, error) {
	if err := ctx.Err(); err != nil {
		return isolate.Plan{}, err
	}
	r.Limits = m.withDefaults(r.Limits)
	if err := m.check(r); err != nil {
		return isolate.Plan{}, err
	}
	p := newProc(r, uuid.NewString())
	p.Port = m.cfg.BasePort
	p.Config = mergeConfig(r.Config, p.Port, m.host)
	b, err := m.plannedBase(p)
	if err != nil {
		return isolate.Plan{}, err
	}
	spec := specOf(m.cfg.StateDir, p, b, idsOf(0), m.cfg.Layers.At(p.ID, p.Limits))
	image, known := m.cfg.Images.Known(p.Image)
	if !known && p.Image != "" && !rootfs.IsContainer(p.Image) {
		image.Dir = m.planned(p.Image)
	}
	spec.Binds, spec.FileSystems = m.binds(p, image), fileSystems(image)
	if err := m.mount(&spec, p.Mounts); err != nil {
		return isolate.Plan{}, err
	}
	return isolate.NewPlan(spec, m.cfg.Engine.Host())
}

// planned is a path for an image that has none yet.
func (m *Manager) planned(image string) string {
	return filepath.Join(m.cfg.StateDir, "cache", url.PathEscape(rootfs.Redact(image)))
}

// plannedBase is the base that a proc would have. A container image that is not in
// the cache stands there as one layer.
func (m *Manager) plannedBase(p Proc) (base, error) {
	if !rootfs.IsContainer(p.Image) {
		template, err := m.cfg.Templates.Get(p.Template)
		if err != nil {
			return base{}, &FieldError{"template", err.Error()}
		}
		return onTemplate(p, template), nil
	}
	c := rootfs.Container{Layers: []string{m.planned(p.Image)}, Config: oci.Config{Dir: "/"}}
	if known, ok := m.cfg.Images.Known(p.Image); ok {
		c = *known.Container
	}
	b := onContainer(p, c)
	if len(b.args) == 0 {
		return base{}, &FieldError{"command", "must be given for a plan of an image that is not in the cache, or has no command of its own"}
	}
	return b, nil
}

// PlanOf is the plan that a running proc was launched by.
func (m *Manager) PlanOf(id string) (isolate.Plan, error) {
	box, err := m.running(id)
	if err != nil {
		return isolate.Plan{}, err
	}
	return box.Plan(), nil
}

// Verify reads back from the kernel what it enforces for a running proc, and
// lists every difference from its plan; see [isolate.Sandbox.Verify].
func (m *Manager) Verify(id string) ([]isolate.Difference, error) {
	box, err := m.running(id)
	if err != nil {
		return nil, err
	}
	diff, err := box.Verify()
	if errors.Is(err, isolate.ErrEnded) {
		return nil, fmt.Errorf("%w: it has just ended", ErrNotRunning)
	}
	return diff, err
}

func (m *Manager) running(id string) (*isolate.Sandbox, error) {
	i, err := m.get(id)
	if err != nil {
		return nil, err
	}
	box := i.sandbox()
	if box == nil {
		return nil, fmt.Errorf("%w: it is in state %s", ErrNotRunning, i.snapshot().State)
	}
	return box, nil
}

// specOf is the sandbox that a proc asks for, but its binds.
func specOf(owner string, p Proc, b base, ids isolate.IDRange, layer isolate.Layer) isolate.Spec {
	lowest := len(b.lowers) - 1
	return isolate.Spec{
		ID:           p.ID,
		Owner:        owner,
		Hostname:     hostname(p.App, p.Name),
		Template:     b.lowers[lowest],
		Lowers:       b.lowers[:lowest],
		Layer:        layer,
		Args:         b.args,
		Env:          environment(b.env, p.Config, b.home),
		Dir:          b.dir,
		User:         b.user,
		Capabilities: p.Capabilities,
		Seccomp:      p.Seccomp,
		IDs:          ids,
		Network:      p.Network,
		Limits:       p.Limits,
	}
}

// binds are the tree of its image, if it has one, the host's resolver configuration
// and a hosts file in which the proc's own name is loopback.
func (m *Manager) binds(p Proc, image rootfs.Image) []isolate.Bind {
	var binds []isolate.Bind
	if image.Dir != "" && image.Container == nil && image.FileSystem == nil {
		binds = append(binds, isolate.Bind{Source: image.Dir, Target: appDir, IDMapped: true})
	}
	if conf := m.cfg.Engine.Host().ResolvConf; conf != "" {
		binds = append(binds, isolate.Bind{Source: conf, Target: "/etc/resolv.conf", Replace: true})
	}
	return append(binds, isolate.Bind{Source: filepath.Join(m.procsDir(), p.ID, hostsName), Target: "/etc/hosts", IDMapped: true, Replace: true})
}

// fileSystems is the image, if it is a file system.
func fileSystems(image rootfs.Image) []isolate.FileSystem {
	if image.FileSystem == nil {
		return nil
	}
	return []isolate.FileSystem{{Type: image.FileSystem.Type, Image: image.FileSystem.Path, Target: appDir}}
}
