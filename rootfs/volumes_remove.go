package rootfs

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"syscall"

	"github.com/gilliam/hypervisor/isolate/failpoint"
)

// Remove removes a volume, which no sandbox may have mounted. It is gone for good,
// another of its name can be made, and its files are removed by the function that it
// returns. The error is an [ErrNotExist] when there is none.
func (v *Volumes) Remove(name string) (empty func() error, err error) {
	if err := CheckVolume(name); err != nil {
		return nil, noVolume(name)
	}
	trash := trashPrefix + name + "-" + rand.Text()
	v.mu.Lock()
	if err = v.root.Rename(name, trash); err == nil {
		v.busy[trash] = true
	}
	v.mu.Unlock()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, noVolume(name)
	case err != nil:
		return nil, fmt.Errorf("remove volume %s: %w", name, err)
	}
	failpoint.Hit("rootfs.volume.trashed")
	return func() error {
		if err := errors.Join(v.fd.Sync(), v.RemoveLeftover(trash)); err != nil {
			return fmt.Errorf("remove volume %s: %w", name, err)
		}
		failpoint.Hit("rootfs.volume.removed")
		return nil
	}, nil
}

// Leftovers are the names of what somebody has begun to make or to remove and does
// not go on with.
func (v *Volumes) Leftovers() ([]string, error) {
	v.mu.Lock() // nothing comes or goes meanwhile
	defer v.mu.Unlock()
	names, err := v.entries()
	names = slices.DeleteFunc(names, func(name string) bool {
		return v.busy[name] || !strings.HasPrefix(name, newPrefix) && !strings.HasPrefix(name, trashPrefix)
	})
	slices.Sort(names)
	return names, err
}

// RemoveLeftover removes one of them.
func (v *Volumes) RemoveLeftover(name string) error {
	if !strings.HasPrefix(name, newPrefix) && !strings.HasPrefix(name, trashPrefix) || strings.Contains(name, "/") {
		return &fs.PathError{Op: "remove", Path: name, Err: syscall.EINVAL}
	}
	err := discard(v.fd, name)
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.busy, name)
	return err
}
