package proc

import (
	"fmt"

	"github.com/docker/go-units"

	"github.com/gilliam/hypervisor/isolate"
	"github.com/gilliam/hypervisor/rootfs"
)

// A Reserve is what new procs leave free of the state folder's file system: so many
// bytes, or so many percent of it, whichever is more. The apps that run may fill
// their layers, and all of them together more than there is.
type Reserve struct {
	Bytes   int64
	Percent float64
}

// of is the reserve in bytes of a file system of that size.
func (r Reserve) of(size int64) int64 { return max(r.Bytes, int64(float64(size)*r.Percent/100)) }

// withDefaults are the limits with those that every proc has here.
func (m *Manager) withDefaults(l Limits) Limits {
	if l.Memory == 0 {
		l.Memory = isolate.DefaultMemory
	}
	if l.Pids == 0 {
		l.Pids = isolate.DefaultPids
	}
	if l.Disk == 0 && m.cfg.Engine.Host().NoDiskLimit == "" {
		l.Disk = isolate.DefaultDisk
	}
	l.Inodes = l.LayerInodes()
	return l
}

// checkSpace says whether there is room for a new proc, or for so many bytes that are
// taken at once, as an [ErrDiskFull].
func (m *Manager) checkSpace(more int64) error {
	s, err := m.cfg.Layers.Space()
	if err != nil {
		return err
	}
	if reserve := m.cfg.Reserve.of(s.Size); s.Free-more < reserve {
		return fmt.Errorf("%w: %s are free where the layers are, and %s are kept: remove procs or images, or lower --disk-reserve",
			ErrDiskFull, units.BytesSize(float64(s.Free)), units.BytesSize(float64(reserve)))
	}
	return nil
}

// layer makes the writable layer of a proc.
func (m *Manager) layer(p Proc, ids isolate.IDRange) (isolate.Layer, error) {
	if p.Limits.Disk > 0 {
		return m.cfg.Layers.CreateImage(p.ID, p.Limits)
	}
	return m.cfg.Layers.Create(p.ID, ids, nil)
}

// Space is what there is of the file system of the layers, and how much of it
// new procs leave free.
func (m *Manager) Space() (s rootfs.Space, reserve int64, err error) {
	s, err = m.cfg.Layers.Space()
	return s, m.cfg.Reserve.of(s.Size), err
}
