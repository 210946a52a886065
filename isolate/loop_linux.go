package isolate

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// Numbers of devices, from admin-guide/devices.txt.
const (
	loopMajor        = 7
	miscMajor        = 10
	loopControlMinor = 237
)

// A loops makes files block devices. Its nodes are in a file system of its own that
// is mounted nowhere: it needs nothing of the host's /dev, which may be a container's
// (loop(4)).
type loops struct {
	dev     int // the file system
	control int
}

// openLoops asks the kernel for the loop driver, which loads it where it is a module.
func openLoops() (_ *loops, err error) {
	l := &loops{dev: -1, control: -1}
	defer func() {
		if err != nil {
			l.close()
			err = fmt.Errorf("loop devices: %w", err)
		}
	}()
	if l.dev, err = newMount("tmpfs", []string{"mode=700"}, NoSuid|NoExec); err != nil {
		return nil, err
	}
	l.control, err = l.node("control", unix.S_IFCHR, miscMajor, loopControlMinor)
	return l, err
}

func (l *loops) close() {
	unix.Close(l.control)
	unix.Close(l.dev)
}

// node makes a device node and opens it.
func (l *loops) node(name string, kind, major, minor uint32) (int, error) {
	if err := unix.Mknodat(l.dev, name, kind|0o600, int(unix.Mkdev(major, minor))); err != nil && err != unix.EEXIST {
		return -1, fmt.Errorf("mknod %s: %w", name, err)
	}
	fd, err := unix.Openat(l.dev, name, unix.O_RDWR|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	if err != nil {
		return -1, fmt.Errorf("open %s: %w", name, err)
	}
	return fd, nil
}

// maxLoopTries is how often another process may take the device that was free a moment
// ago.
const maxLoopTries = 64

// attach makes image a block device and opens that. It is one as long as anybody has
// it open or mounted: the kernel ends that, whatever becomes of us
// (LO_FLAGS_AUTOCLEAR). The image is read and written past the page cache, where the
// host's file system can do that: it would be cached twice, and what is written would
// not count for who writes it.
func (l *loops) attach(image *os.File) (int, error) {
	return l.configure(image, unix.LO_FLAGS_DIRECT_IO, 4096)
}

// attachReadOnly makes image a block device that nobody writes to, in blocks of 512
// bytes. What is read of it stays in the page cache, once for all that read it.
func (l *loops) attachReadOnly(image *os.File) (int, error) {
	return l.configure(image, unix.LO_FLAGS_READ_ONLY, 512)
}

func (l *loops) configure(image *os.File, flags, block uint32) (int, error) {
	config := unix.LoopConfig{Fd: uint32(image.Fd()), Size: block}
	config.Info.Flags = unix.LO_FLAGS_AUTOCLEAR | flags
	for range maxLoopTries {
		n, err := unix.IoctlRetInt(l.control, unix.LOOP_CTL_GET_FREE)
		if err != nil {
			return -1, fmt.Errorf("find a free loop device: %w", err)
		}
		device, err := l.node(strconv.Itoa(n), unix.S_IFBLK, loopMajor, uint32(n))
		if err != nil {
			return -1, err
		}
		if err = unix.IoctlLoopConfigure(device, &config); err == nil {
			return device, nil
		}
		unix.Close(device)
		if err != unix.EBUSY {
			return -1, fmt.Errorf("attach %s to loop device %d: %w", image.Name(), n, err)
		}
	}
	return -1, errors.New("find a free loop device: others take each before us")
}
