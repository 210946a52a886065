package isolate

import (
	"fmt"
	"slices"
	"strings"
)

// A Step is one effect of the launch thread on the file system that the
// sandbox will see: a [MountLayer], [MountRoot], [BindRoot], [Mount], [Device], [Symlink],
// [Mkdir], [BindStep], [Extend], [MountVolume], [MountFileSystem], [Mask], or [Protect]. Paths are of the sandbox unless said
// otherwise.
type Step interface {
	fmt.Stringer
	step() // closes the set
}

// MountFlags are the attributes of a mount (mount_setattr(2)).
type MountFlags uint

// The attributes that plans use.
const (
	ReadOnly MountFlags = 1 << iota
	NoSuid
	NoDev
	NoExec
)

func (f MountFlags) String() string {
	var names []string
	for i, name := range []string{"ro", "nosuid", "nodev", "noexec"} {
		if f&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return strings.Join(names, ",")
}

// MountRoot mounts the overlay that is the sandbox's root. Lowers, Upper and
// Work are paths on the host; Lowers are read-only, the topmost first, and idmapped
// to the sandbox's ids.
type MountRoot struct {
	Lowers      []string
	Upper, Work string
	Options     []string // key or key=value
	Flags       MountFlags
}

func (s MountRoot) String() string {
	return fmt.Sprintf("mount overlay on / %v lowerdir=%s (idmapped),upperdir=%s,workdir=%s,%s",
		s.Flags, strings.Join(s.Lowers, ":"), s.Upper, s.Work, strings.Join(s.Options, ","))
}

// BindRoot makes a folder of the host's the sandbox's root, writable. It is
// idmapped to the sandbox's ids.
type BindRoot struct {
	Source string
	Flags  MountFlags
}

func (s BindRoot) String() string {
	return fmt.Sprintf("bind %s on / %v (idmapped)", s.Source, s.Flags)
}

// Mount mounts a new file system of a type.
type Mount struct {
	Type    string
	Target  string
	Options []string // key or key=value
	Flags   MountFlags
}

func (s Mount) String() string {
	return strings.TrimSpace(fmt.Sprintf("mount %s on %s %v %s", s.Type, s.Target, s.Flags, strings.Join(s.Options, ",")))
}

// Mkdir makes a folder, open to all to read, unless it is there.
type Mkdir struct{ Path string }

func (s Mkdir) String() string { return "mkdir " + s.Path }

// Device makes a character device that everyone may read and write.
type Device struct {
	Path         string
	Major, Minor uint32
}

func (s Device) String() string { return fmt.Sprintf("mknod %s c %d:%d", s.Path, s.Major, s.Minor) }

// Symlink makes Path a symbolic link to Target.
type Symlink struct{ Path, Target string }

func (s Symlink) String() string { return fmt.Sprintf("symlink %s -> %s", s.Path, s.Target) }

// BindStep shows a file or folder of the host's. A missing target is made, as a
// file or folder like the source.
type BindStep struct {
	Bind
	Flags MountFlags
}

func (s BindStep) String() string {
	idmap, within := "", ""
	if s.IDMapped {
		idmap = " (idmapped)"
	}
	if s.Within != "" {
		within = " within " + s.Within
	}
	return fmt.Sprintf("bind %s%s on %s %v%s", s.Source, within, s.Target, s.Flags, idmap)
}

// Extend covers the read-only tree at a path with an overlay of it, so that mount
// points can be made in it. What is made goes to memory.
type Extend struct {
	Path    string
	Options []string // key or key=value
	Flags   MountFlags
}

func (s Extend) String() string {
	return fmt.Sprintf("mount overlay on %s %v of what is there, upperdir and workdir on a tmpfs,%s", s.Path, s.Flags, strings.Join(s.Options, ","))
}

// Mask hides a folder behind an empty one, or a file behind the null device.
// Paths that the kernel does not have need no mask.
type Mask struct{ Path string }

func (s Mask) String() string { return "mask " + s.Path }

// Protect adds attributes to the mount at a path.
type Protect struct {
	Path  string
	Flags MountFlags
}

func (s Protect) String() string { return fmt.Sprintf("remount %s %v", s.Path, s.Flags) }

// beforeNetwork is how many of the steps can be done outside of the sandbox's
// network namespace: those before sysfs, which shows the one that it is mounted in.
func (p Plan) beforeNetwork() int {
	i := slices.IndexFunc(p.Steps, func(s Step) bool {
		m, ok := s.(Mount)
		return ok && m.Type == "sysfs"
	})
	if i < 0 {
		return len(p.Steps)
	}
	return i
}

func (MountRoot) step() {}
func (BindRoot) step()  {}
func (Mount) step()     {}
func (Mkdir) step()     {}
func (Device) step()    {}
func (Symlink) step()   {}
func (BindStep) step()  {}
func (Extend) step()    {}
func (Mask) step()      {}
func (Protect) step()   {}
