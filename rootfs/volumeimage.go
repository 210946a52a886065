package rootfs

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/gilliam/hypervisor/isolate"
	"github.com/gilliam/hypervisor/isolate/ext4"
	"github.com/gilliam/hypervisor/isolate/failpoint"
)

// allocateVolume takes the space of a volume from the disk. There is no file system in
// it yet: that is made for its first owner.
func allocateVolume(root *os.Root, size int64) error {
	shape, err := isolate.VolumeShape(size)
	if err != nil {
		return err
	}
	f, err := root.OpenFile(volumeImage, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	err = allocate(f, shape.Size())
	failpoint.Hit("rootfs.volume.allocated")
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("take %d bytes from the disk: %w", shape.Size(), err)
	}
	return nil
}

// formatVolume makes the file system of a volume that nobody has had, for its owner.
// It can be done again.
func formatVolume(root *os.Root, vol Volume) error {
	shape, err := isolate.VolumeShape(vol.Size)
	if err != nil {
		return err
	}
	f, err := root.OpenFile(volumeImage, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	id := ext4.Identity{Time: time.Now(), UID: vol.Owner.UID, GID: vol.Owner.GID}
	rand.Read(id.UUID[:])
	rand.Read(id.Seed[:])
	return errors.Join(ext4.Format(f, shape, id), f.Sync(), f.Close())
}
