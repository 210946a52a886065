package isolate

import (
	"fmt"
	"slices"
	"strings"
)

// A FileSystem is one that somebody else has made, in a file, to be shown at Target,
// nosuid, nodev and read-only. Each sandbox has it mounted for itself, so that nothing
// in it, as a FIFO or a lock, leads to another sandbox.
//
// The kernel reads the file as it is. Whoever made it can try what no program in the
// sandbox can: to find a fault in how the kernel reads such a file.
type FileSystem struct {
	Type   string // one of FileSystemTypes
	Image  string // absolute path of the file, which nobody changes any more
	Target string // absolute, in the sandbox; made when missing
}

// FileSystemTypes are the types of a [FileSystem]: those that are made to be only read.
var FileSystemTypes = []string{"squashfs", "erofs"}

// idmapsSquashfs is the first kernel that can show the ids of a squashfs as others
// (mount_setattr(2)). Before, its files are nobody's in a sandbox. Of erofs every
// kernel can that we run on.
var idmapsSquashfs = Version{6, 2}

// MountFileSystem mounts the file system in an image at Target. Image is a path on the
// host.
type MountFileSystem struct {
	Type, Image, Target string
	IDMapped            bool     // to the sandbox's ids
	Options             []string // key or key=value
	Flags               MountFlags
}

func (s MountFileSystem) String() string {
	idmap := ""
	if s.IDMapped {
		idmap = " (idmapped)"
	}
	return fmt.Sprintf("mount %s %s on %s %v %s%s", s.Type, s.Image, s.Target, s.Flags, strings.Join(s.Options, ","), idmap)
}

func (MountFileSystem) step() {}

// step is how the file system is mounted on a kernel.
func (f FileSystem) step(kernel Version) MountFileSystem {
	s := MountFileSystem{
		Type: f.Type, Image: f.Image, Target: f.Target, IDMapped: true, Options: []string{"ro"}, Flags: ReadOnly | NoSuid | NoDev,
	}
	if f.Type == "squashfs" {
		s.IDMapped = !kernel.Before(idmapsSquashfs)
		s.Options = append(s.Options, "errors=continue") // not panic
	}
	return s
}

func (f FileSystem) validate() error {
	if !slices.Contains(FileSystemTypes, f.Type) {
		return &SpecError{"FileSystems", fmt.Sprintf("the type %q must be one of %s", f.Type, strings.Join(FileSystemTypes, ", "))}
	}
	if !cleanAbs(f.Image) {
		return &SpecError{"FileSystems", "the image must be a clean absolute path"}
	}
	if err := CheckTarget(f.Target); err != nil {
		return &SpecError{"FileSystems", fmt.Sprintf("the target %v", err)}
	}
	return nil
}
