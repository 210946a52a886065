package isolate

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/gilliam/hypervisor/isolate/ext4"
)

// HoldBack makes every layer whose image lies below a folder full, however much of
// its limit is left, or ends that: for a disk that is about to have no room for what
// the limits together allow. Inside, what needs a new block is ENOSPC, at once; what is
// written in place goes on. It asks the kernel to keep all blocks for itself
// (reserved_clusters in admin-guide/ext4.rst), of the loop devices that it finds by
// their images: who launched a sandbox does not matter.
func HoldBack(dir string, on bool) error {
	var errs []error
	for _, name := range layerDevices(dir) {
		blocks := number("/sys/block/"+name+"/size") * 512 / ext4.BlockSize
		keep := min(blocks/50, 4096) // the kernel's own (ext4_set_resv_clusters in fs/ext4/super.c)
		if on {
			keep = blocks - 1
		}
		f, err := os.OpenFile("/sys/fs/ext4/"+name+"/reserved_clusters", os.O_WRONLY, 0)
		if errors.Is(err, os.ErrNotExist) {
			continue // it has just ended
		}
		if err == nil {
			_, err = f.WriteString(strconv.FormatInt(keep, 10))
			err = errors.Join(err, f.Close())
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("keep blocks of %s: %w", name, err))
		}
	}
	return errors.Join(errs...)
}

// layerDevices are the names of the loop devices whose images lie below a folder and
// are not removed.
func layerDevices(dir string) []string {
	// The pattern is well-formed.
	paths, _ := filepath.Glob("/sys/block/loop*/loop/backing_file")
	var names []string
	for _, path := range paths {
		if name := filepath.Base(filepath.Dir(filepath.Dir(path))); isLayer(name, dir) {
			names = append(names, name)
		}
	}
	return names
}

func isLayer(device, dir string) bool {
	image := text("/sys/block/" + device + "/loop/backing_file")
	return strings.HasPrefix(image, dir+"/") && !strings.HasSuffix(image, " (deleted)")
}

// Trim gives what apps have deleted in the layers whose images lie below a folder back
// to the host, as holes in the images. Apps need not wait for that, as they would with
// the mount option discard, at each file.
func Trim(dir string) error {
	names := layerDevices(dir)
	if len(names) == 0 {
		return nil
	}
	l, err := openLoops()
	if err != nil {
		return err
	}
	defer l.close()
	var errs []error
	for _, name := range names {
		if err := l.trim(name, dir); err != nil {
			errs = append(errs, fmt.Errorf("trim %s: %w", name, err))
		}
	}
	return errors.Join(errs...)
}

// leastHole is what is worth a hole, in bytes.
const leastHole = 64 << 10

// trim mounts the file system that a sandbox has once more, nowhere (FITRIM in
// ioctl_fitrim(2)).
func (l *loops) trim(name, dir string) error {
	n, err := strconv.Atoi(strings.TrimPrefix(name, "loop"))
	if err != nil {
		return err
	}
	device, err := l.node(strconv.Itoa(n), unix.S_IFBLK, loopMajor, uint32(n))
	if err != nil {
		return err
	}
	defer unix.Close(device)
	if !isLayer(name, dir) { // what we have open is nobody else's from now on
		return nil
	}
	mnt, err := newMountOf(device, "ext4", layerOptions, NoSuid|NoDev)
	if err != nil {
		return err
	}
	defer unix.Close(mnt)
	root, err := unix.Openat(mnt, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(root)
	all := struct{ start, len, minlen uint64 }{0, math.MaxUint64, leastHole}
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(root), fitrim, uintptr(unsafe.Pointer(&all))); errno != 0 && errno != unix.EOPNOTSUPP {
		return errno // the host's file system may make no holes
	}
	return nil
}

const fitrim = 0xc0185879 // _IOWR('X', 121, struct fstrim_range), linux/fs.h
