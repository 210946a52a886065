package proc

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/gilliam/hypervisor/rootfs"
)

// A Volume is what outlives the procs that write to it. Any number of procs may have
// one at once that has no size, and one proc one that has.
type Volume struct {
	rootfs.Volume
	Procs []string `json:"procs"` // that have it and have not ended, by their ids
}

// Errors of volumes that a caller may branch on, with errors.Is.
var (
	// ErrNoVolume is a volume that is not there.
	ErrNoVolume = errors.New("no such volume")
	// ErrVolumeExists is a volume that is there already.
	ErrVolumeExists = errors.New("there is a volume of that name")
	// ErrVolumeInUse is a volume that a proc has.
	ErrVolumeInUse = errors.New("the volume is in use")
	// ErrTooManyVolumes is one volume more than the operator allows.
	ErrTooManyVolumes = errors.New("too many volumes")
)

// volumeError is an error of package rootfs as one of ours.
func volumeError(err error) error {
	switch {
	case errors.Is(err, rootfs.ErrInvalid):
		return &FieldError{"size", err.Error()}
	case errors.Is(err, rootfs.ErrNotExist):
		return fmt.Errorf("%w: %w", ErrNoVolume, err)
	case errors.Is(err, rootfs.ErrExist):
		return fmt.Errorf("%w: %w", ErrVolumeExists, err)
	case errors.Is(err, rootfs.ErrFull):
		return fmt.Errorf("%w: %w", ErrTooManyVolumes, err)
	}
	return err
}

// Volumes are all volumes, by name.
func (m *Manager) Volumes() ([]Volume, error) {
	list, err := m.cfg.Volumes.List()
	if err != nil {
		return nil, err
	}
	all := make([]Volume, len(list))
	for n, v := range list {
		all[n] = Volume{v, m.usersOf(v.Name)}
	}
	return all, nil
}

// Volume is one volume, or [ErrNoVolume].
func (m *Manager) Volume(name string) (Volume, error) {
	v, err := m.cfg.Volumes.Get(name)
	if err != nil {
		return Volume{}, volumeError(err)
	}
	return Volume{v, m.usersOf(name)}, nil
}

// CreateVolume makes an empty volume, as a proc that asks for it does by itself. The
// size is zero for none.
func (m *Manager) CreateVolume(name string, size int64) (Volume, error) {
	if err := rootfs.CheckVolume(name); err != nil {
		return Volume{}, &FieldError{"name", err.Error()}
	}
	if why := m.cfg.Engine.Host().NoDiskLimit; size != 0 && why != "" {
		return Volume{}, &FieldError{"size", "cannot be enforced here: " + why}
	}
	if err := m.checkSpace(size); err != nil {
		return Volume{}, err
	}
	v, err := m.cfg.Volumes.Create(name, size)
	if err != nil {
		return Volume{}, volumeError(err)
	}
	m.log.Info("volume made", "volume", name, "size", size)
	return Volume{v, m.usersOf(name)}, nil
}

// RemoveVolume removes a volume with all that is in it, unless a proc has it that
// has not ended: [ErrVolumeInUse].
func (m *Manager) RemoveVolume(name string) error {
	empty, err := m.retireVolume(name)
	if err != nil {
		return err
	}
	m.log.Info("volume removed", "volume", name)
	return empty()
}

// retireVolume makes a volume one no more. No proc comes meanwhile that would have it.
func (m *Manager) retireVolume(name string) (empty func() error, err error) {
	m.arriving.Lock()
	defer m.arriving.Unlock()
	if users := m.usersOf(name); len(users) > 0 {
		return nil, fmt.Errorf("%w by %s: stop what has it first", ErrVolumeInUse, strings.Join(users, ", "))
	}
	if empty, err = m.cfg.Volumes.Remove(name); err != nil {
		return nil, volumeError(err)
	}
	return empty, nil
}

// usersOf are the ids of the procs that have a volume and have not ended, in order.
func (m *Manager) usersOf(volume string) []string {
	m.mu.Lock()
	all := slices.Collect(maps.Values(m.procs))
	m.mu.Unlock()
	users := []string{}
	for _, i := range all {
		p := i.recorded().Proc
		if !p.State.Ended() && hasVolume(p.Mounts, volume) {
			users = append(users, p.ID)
		}
	}
	slices.Sort(users)
	return users
}

// arrive lets a proc with these mounts come, until the function that it returns is
// called, or says that another has a volume that only one can have: [ErrVolumeInUse].
func (m *Manager) arrive(mounts []Mount) (arrived func(), err error) {
	if !slices.ContainsFunc(mounts, func(m Mount) bool { return m.Type == mountVolume }) {
		m.arriving.RLock()
		return m.arriving.RUnlock, nil
	}
	m.arriving.Lock()
	for n, mount := range mounts {
		if mount.Type != mountVolume || !m.exclusive(mount) {
			continue
		}
		if users := m.usersOf(mount.Source); len(users) > 0 {
			m.arriving.Unlock()
			return nil, fmt.Errorf("mounts[%d]: %w by %s, and one proc at a time can have a volume that has a size", n, ErrVolumeInUse, strings.Join(users, ", "))
		}
	}
	return m.arriving.Unlock, nil
}

// exclusive tells whether one proc at a time can have the volume of a mount: it has a
// size, or will have one when it is made.
func (m *Manager) exclusive(mount Mount) bool {
	v, found, err := m.cfg.Volumes.Find(mount.Source, mount.Size)
	if err != nil {
		return true // who comes first finds out
	}
	if found {
		return v.Size > 0
	}
	sized := mount.Size > 0
	for _, p := range m.List() {
		sized = sized || !p.State.Ended() && slices.ContainsFunc(p.Mounts, func(o Mount) bool {
			return o.Type == mountVolume && o.Source == mount.Source && o.Size > 0
		})
	}
	return sized
}
