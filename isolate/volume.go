package isolate

import (
	"fmt"
	"strings"

	"github.com/gilliam/hypervisor/isolate/ext4"
)

// A Volume is a file system of a size, in an image, that outlives the sandboxes that
// write to it. One sandbox has it at a time, nosuid and nodev, and sees the files of
// its id n as its id n, as in an idmapped [Bind].
type Volume struct {
	Image    string // absolute path of a file, with the file system of [VolumeShape] in it
	Target   string // absolute, in the sandbox; made when missing
	Size     int64  // bytes that its files can have
	ReadOnly bool   // the sandbox does not write to it
}

// The smallest and the largest size of a [Volume].
const (
	MinVolume = ext4.MinBytes
	MaxVolume = ext4.MaxBytes
)

// VolumeShape is the file system of a volume of a size. It has a journal: after a
// crash of the machine the kernel mends it as it is mounted, and loses no more than was
// not synced.
func VolumeShape(size int64) (ext4.Shape, error) {
	return ext4.NewKeptShape(size, max(ext4.MinInodes, size/bytesPerInode))
}

// A VolumeUsage is how full a [Volume] is that a sandbox has.
type VolumeUsage struct {
	Target      string
	Disk        uint64 // bytes in use
	DiskLimit   uint64 // bytes
	Inodes      uint64 // files, folders and others
	InodesLimit uint64
}

// MountVolume mounts the file system in an image at Target, idmapped to the sandbox's
// ids. Image is a path on the host.
type MountVolume struct {
	Image, Target string
	Bytes         int64    // of the file system, as statfs(2) says them
	Inodes        int64    // likewise
	Options       []string // key or key=value
	Flags         MountFlags
}

func (s MountVolume) String() string {
	return fmt.Sprintf("mount ext4 %s on %s %v %s (idmapped; %d bytes, %d inodes)",
		s.Image, s.Target, s.Flags, strings.Join(s.Options, ","), s.Bytes, s.Inodes)
}

func (MountVolume) step() {}

// volumeOptions: unlike a layer's, with the flushes of the disk's cache that a
// journal needs.
var volumeOptions = []string{"errors=remount-ro"}

// step is how the volume is mounted. Its size is right.
func (v Volume) step() MountVolume {
	shape, err := VolumeShape(v.Size)
	if err != nil {
		panic("bug: " + err.Error()) // the spec is valid
	}
	flags := NoSuid | NoDev
	if v.ReadOnly {
		flags |= ReadOnly
	}
	return MountVolume{v.Image, v.Target, shape.Bytes(), shape.Inodes(), volumeOptions, flags}
}

// volumes are the steps that mount volumes.
func (p Plan) volumes() []MountVolume {
	var list []MountVolume
	for _, s := range p.Steps {
		if v, ok := s.(MountVolume); ok {
			list = append(list, v)
		}
	}
	return list
}
