package proc

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/gilliam/hypervisor/isolate"
	"github.com/gilliam/hypervisor/rootfs"
)

// A Mount asks for something to be mounted in a proc's sandbox, nosuid and nodev.
type Mount struct {
	// Type is volume, bind or tmpfs: a volume, which is kept when the proc has gone; a
	// bind of a file or folder of the host's, which the operator must allow and which
	// is read-only; a tmpfs, a file system in the proc's memory.
	Type string `json:"type"`

	// Source is the name of a volume, which is made when it is missing, or the path of
	// what is bound. A tmpfs has none.
	Source string `json:"source,omitempty"`

	// Target is where it is mounted: an absolute path. It is made when it is missing.
	Target string `json:"target"`

	// ReadOnly lets the proc not write to it. Of a bind it must be true, of a tmpfs
	// false.
	ReadOnly bool `json:"readonly,omitempty"`

	// Size is that of a tmpfs, in bytes, or of a volume, if it has to be made; one that
	// is there must have it. Zero means half of the limit of memory, and no size, or any.
	Size int64 `json:"size,omitempty"`

	// Exec lets what is in a tmpfs be executed.
	Exec bool `json:"exec,omitempty"`
}

// The types of mounts.
const (
	mountVolume = "volume"
	mountBind   = "bind"
	mountTmpfs  = "tmpfs"
)

// maxMounts is how many mounts a proc may ask for.
const maxMounts = 32

// ownTargets are where every proc has a mount that it does not ask for.
var ownTargets = []string{"/etc/hosts", "/etc/resolv.conf"}

// checkMounts says what is wrong with the mounts in themselves, as a [FieldError].
func (r Request) checkMounts() error {
	if len(r.Mounts) > maxMounts {
		return &FieldError{"mounts", fmt.Sprintf("must be at most %d", maxMounts)}
	}
	for n, mount := range r.Mounts {
		field, err := mount.check(cmp.Or(r.Limits.Memory, isolate.DefaultMemory))
		if err == nil {
			field, err = "target", r.checkTarget(n)
		}
		if err != nil {
			return &FieldError{fmt.Sprintf("mounts[%d].%s", n, field), err.Error()}
		}
	}
	return nil
}

// check says which field of the mount is wrong, and why.
func (m Mount) check(memory int64) (field string, err error) {
	bad := func(field, detail string) (string, error) { return field, errors.New(detail) }
	switch m.Type {
	case mountVolume:
		if err := rootfs.CheckVolume(m.Source); err != nil {
			return "source", fmt.Errorf("the name of a volume %w", err)
		}
		if err := rootfs.CheckVolumeSize(m.Size); err != nil {
			return "size", err
		}
	case mountBind:
		if !m.ReadOnly {
			return bad("readonly", "must be true: no proc writes to the host's own files; a volume is for what is to be kept")
		}
	case mountTmpfs:
		switch {
		case m.Source != "":
			return bad("source", "must be left out: a tmpfs is empty at first")
		case m.ReadOnly:
			return bad("readonly", "must be false: nothing could ever be in it")
		case m.Size < 0 || m.Size != 0 && m.Size < isolate.MinScratch || m.Size > memory:
			return bad("size", fmt.Sprintf("must be %d bytes to the proc's limit of memory, which it counts for: %d; or 0 for half of that", isolate.MinScratch, memory))
		}
		return "", nil
	default:
		return bad("type", "must be volume, bind or tmpfs")
	}
	switch {
	case m.Size != 0 && m.Type == mountBind:
		return bad("size", "must be left out: a bind has none")
	case m.Exec:
		return bad("exec", "must be left out: it is for a tmpfs; what is in others may always be executed")
	}
	return "", nil
}

// checkTarget tells why the n-th mount cannot be where it is to be.
func (r Request) checkTarget(n int) error {
	target := r.Mounts[n].Target
	if err := isolate.CheckTarget(target); err != nil {
		return err
	}
	for _, own := range ownTargets {
		if isolate.Nested(target, own) {
			return fmt.Errorf("must not hold or hide %s, which every proc has", own)
		}
	}
	if r.Image != "" && !rootfs.IsContainer(r.Image) && target == appDir {
		return fmt.Errorf("must not be %s: the image is there; it may be a folder in it", appDir)
	}
	for other := range n {
		if isolate.Nested(target, r.Mounts[other].Target) {
			return fmt.Errorf("must not lie in, hold or be the target of mounts[%d]", other)
		}
	}
	return nil
}

// checkSources says what of the mounts this hypervisor does not have or allow, as a
// [FieldError].
func (m *Manager) checkSources(mounts []Mount) error {
	for n, mount := range mounts {
		field, err := "source", error(nil)
		switch mount.Type {
		case mountBind:
			_, err = m.cfg.BindDirs.Check(mount.Source)
		case mountVolume:
			field, err = m.checkVolume(mount, mounts[:n])
		}
		if err != nil {
			return &FieldError{fmt.Sprintf("mounts[%d].%s", n, field), err.Error()}
		}
	}
	return nil
}

// checkVolume says which field of the mount of a volume is wrong, and why, beside
// other mounts of the same proc.
func (m *Manager) checkVolume(mount Mount, others []Mount) (field string, err error) {
	v, _, err := m.cfg.Volumes.Find(mount.Source, mount.Size)
	switch {
	case errors.Is(err, rootfs.ErrInvalid):
		return "size", err
	case err != nil:
		return "source", err
	case v.Size == 0:
		return "", nil
	}
	if why := m.cfg.Engine.Host().NoDiskLimit; why != "" {
		return "size", fmt.Errorf("cannot be enforced here: %s", why)
	}
	if hasVolume(others, mount.Source) {
		return "source", errors.New("a volume that has a size can be mounted once")
	}
	return "", nil
}

// missing is how many bytes of the disk the volumes will take that are to be made for
// the mounts.
func (m *Manager) missing(mounts []Mount) int64 {
	var sum int64
	for _, mount := range mounts {
		if mount.Type != mountVolume || mount.Size == 0 {
			continue
		}
		if _, found, err := m.cfg.Volumes.Find(mount.Source, mount.Size); err == nil && !found {
			sum += mount.Size
		}
	}
	return sum
}

// mount adds to the spec what the proc wants mounted. What the operator allows is
// looked at each time, and once more when it is mounted.
func (m *Manager) mount(s *isolate.Spec, mounts []Mount) error {
	for n, mount := range mounts {
		field, err := m.mountOne(s, mount)
		if err != nil {
			return &FieldError{fmt.Sprintf("mounts[%d].%s", n, field), err.Error()}
		}
	}
	return nil
}

func (m *Manager) mountOne(s *isolate.Spec, mount Mount) (field string, err error) {
	switch mount.Type {
	case mountTmpfs:
		s.Scratch = append(s.Scratch, isolate.Scratch{Target: mount.Target, Size: mount.Size, Exec: mount.Exec})
		return "", nil
	case mountBind:
		bind, err := m.cfg.BindDirs.Check(mount.Source)
		bind.Target = mount.Target
		s.Binds = append(s.Binds, bind)
		return "source", err
	}
	v, _, err := m.cfg.Volumes.Find(mount.Source, mount.Size)
	if v.Size > 0 {
		s.Volumes = append(s.Volumes, isolate.Volume{
			Image: m.cfg.Volumes.Image(v.Name), Target: mount.Target, Size: v.Size, ReadOnly: mount.ReadOnly,
		})
		return "size", err
	}
	s.Binds = append(s.Binds, isolate.Bind{
		Source: m.cfg.Volumes.Path(v.Name), Target: mount.Target, IDMapped: true, Writable: !mount.ReadOnly,
	})
	return "source", err
}

// provideMounts adds to the spec what the proc wants mounted, and makes the volumes
// that are missing.
func (m *Manager) provideMounts(s *isolate.Spec, mounts []Mount) error {
	for n, mount := range mounts {
		if mount.Type != mountVolume {
			continue
		}
		if _, err := m.cfg.Volumes.Take(mount.Source, mount.Size, s.User); err != nil {
			return fmt.Errorf("mounts[%d]: %w", n, err)
		}
	}
	return m.mount(s, mounts)
}

// hasVolume tells whether one of the mounts is that volume.
func hasVolume(mounts []Mount, name string) bool {
	return slices.ContainsFunc(mounts, func(m Mount) bool { return m.Type == mountVolume && m.Source == name })
}
