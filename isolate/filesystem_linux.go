package isolate

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// CheckFileSystem tells whether the kernel can mount a type of a [FileSystem]; it loads
// what of it is a module. The error is an [ErrUnsupported].
func CheckFileSystem(kind string) error {
	fs, err := unix.Fsopen(kind, unix.FSOPEN_CLOEXEC)
	if err == unix.ENODEV {
		return fmt.Errorf("%w: the kernel has no %s (modprobe %s)", ErrUnsupported, kind, kind)
	}
	if err != nil {
		return fmt.Errorf("%w: %s: %w", ErrUnsupported, kind, err)
	}
	unix.Close(fs)
	loops, err := openLoops()
	if err != nil {
		return fmt.Errorf("%w: %w (modprobe loop)", ErrUnsupported, err)
	}
	loops.close()
	return nil
}

// mountFileSystem mounts a file system of somebody else's making.
func (b *builder) mountFileSystem(s MountFileSystem) error {
	userns := -1
	if s.IDMapped {
		userns = b.userns
	}
	mnt, err := b.layers.fileSystem(s, userns)
	if err != nil {
		return err
	}
	return b.place(mnt, s.Target)
}

// fileSystem mounts an image nowhere.
func (l *layers) fileSystem(s MountFileSystem, userns int) (int, error) {
	loops, err := l.devices()
	if err != nil {
		return -1, err
	}
	image, err := os.OpenFile(s.Image, os.O_RDONLY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return -1, err
	}
	defer image.Close()
	device, err := loops.attachReadOnly(image)
	if err != nil {
		return -1, err
	}
	defer unix.Close(device)
	mnt, err := newMountOf(device, s.Type, s.Options, s.Flags)
	if err != nil || userns < 0 {
		return mnt, err
	}
	if err := idmap(mnt, userns); err != nil {
		unix.Close(mnt)
		return -1, err
	}
	return mnt, nil
}
