package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A disk is a device of the kernel's device mapper (dm-ioctl.h) in the place of another
// one, which it can keep everybody from.
type disk struct {
	control *os.File
	under   string // the other one
	sectors uint64
}

const mapped = "/dev/dm-0"

// mapDisk makes the device.
func mapDisk(under string) (disk, error) {
	size, err := os.ReadFile("/sys/class/block/" + strings.TrimPrefix(under, "/dev/") + "/size")
	if err != nil {
		return disk{}, err
	}
	d := disk{under: under}
	if d.sectors, err = strconv.ParseUint(strings.TrimSpace(string(size)), 10, 64); err != nil {
		return d, err
	}
	if d.control, err = os.OpenFile("/dev/mapper/control", os.O_RDWR, 0); err != nil {
		return d, err
	}
	if err := d.call(unix.DM_DEV_CREATE, 0, "", ""); err != nil {
		return d, err
	}
	return d, d.become("linear", under+" 0")
}

// fail has the disk answer everything with EIO, from now on.
func (d disk) fail() error { return d.become("error", "") }

// heal ends that.
func (d disk) heal() error { return d.become("linear", d.under+" 0") }

// become is another target in the place of the present one, without a word to the file
// system on it.
func (d disk) become(target, params string) error {
	if err := d.call(unix.DM_TABLE_LOAD, 0, target, params); err != nil {
		return err
	}
	if err := d.call(unix.DM_DEV_SUSPEND, unix.DM_SUSPEND_FLAG|unix.DM_SKIP_LOCKFS_FLAG|unix.DM_NOFLUSH_FLAG, "", ""); err != nil {
		return err
	}
	return d.call(unix.DM_DEV_SUSPEND, 0, "", "") // goes on, with the new table
}

// call is an ioctl(2) with a target, or none.
func (d disk) call(request uint, flags uint32, target, params string) error {
	head := unix.DmIoctl{Version: [3]uint32{4}, Data_start: unix.SizeofDmIoctl, Flags: flags}
	copy(head.Name[:], "disk")
	var body bytes.Buffer
	if target != "" {
		head.Target_count = 1
		spec := unix.DmTargetSpec{Length: d.sectors}
		copy(spec.Target_type[:], target)
		if err := binary.Write(&body, binary.NativeEndian, spec); err != nil {
			return err
		}
		body.WriteString(params + "\x00")
	}
	buf := make([]byte, unix.SizeofDmIoctl+body.Len()+512) // for the answer, too
	head.Data_size = uint32(len(buf))
	*(*unix.DmIoctl)(unsafe.Pointer(&buf[0])) = head
	copy(buf[unix.SizeofDmIoctl:], body.Bytes())
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, d.control.Fd(), uintptr(request), uintptr(unsafe.Pointer(&buf[0]))); errno != 0 {
		return fmt.Errorf("device mapper, call %#x: %s %s: %w", request, target, params, errno)
	}
	return nil
}
