package isolate

import (
	"fmt"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// ProbeDisk finds the disk that the file system at path is on. There is none for
// a file system in memory, on the network, or, as btrfs, on devices of its own.
func ProbeDisk(path string, cgroup CgroupMode) (Disk, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return Disk{}, fmt.Errorf("disk of %s: %w", path, err)
	}
	return findDisk("/sys", BlockDevice{unix.Major(st.Dev), unix.Minor(st.Dev)}, cgroup), nil
}

// findDisk looks a device up in a sysfs. Of a partition the whole disk is limited
// (blkcg_conf_open_bdev in block/blk-cgroup.c).
func findDisk(sys string, device BlockDevice, cgroup CgroupMode) Disk {
	if device.Major == 0 {
		return Disk{}
	}
	dir, err := filepath.EvalSymlinks(filepath.Join(sys, "dev/block", device.String()))
	if err != nil {
		return Disk{}
	}
	if exists(filepath.Join(dir, "partition")) {
		dir = filepath.Dir(dir)
	}
	var d Disk
	if _, err := fmt.Sscanf(text(filepath.Join(dir, "dev")), "%d:%d", &d.Device.Major, &d.Device.Minor); err != nil {
		return Disk{}
	}
	switch {
	case strings.Contains(text(filepath.Join(dir, "queue/scheduler")), "[bfq]"):
		d.Weight = WeightBFQ
	case cgroup == CgroupV2 && costed(text(filepath.Join(sys, "fs/cgroup/io.cost.qos")), d.Device):
		d.Weight = WeightIOCost
	}
	return d
}

// costed tells whether the io controller models the costs of a device, from
// io.cost.qos (cgroup-v2.rst).
func costed(qos string, device BlockDevice) bool {
	for line := range strings.Lines(qos) {
		fields := strings.Fields(line)
		if len(fields) > 1 && fields[0] == device.String() && fields[1] == "enable=1" {
			return true
		}
	}
	return false
}
