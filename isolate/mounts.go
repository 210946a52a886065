package isolate

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// A Bind shows Source, a file or folder of the host's, at Target in the sandbox,
// nosuid and nodev. What is mounted in Source is not shown.
type Bind struct {
	Source string // absolute, on the host
	Target string // absolute, in the sandbox; made when missing

	// IDMapped shows files of host id n as id n of the sandbox, so that
	// root's files are seen as root's. Otherwise they show as nobody's.
	IDMapped bool

	// Writable lets the sandbox write to it, as far as its ids may: when it is
	// idmapped, its id n writes as the host's id n. If false (the default), nobody
	// writes to it.
	Writable bool `json:",omitempty"`

	// Within is a folder that Source must lie in when the sandbox is launched, all
	// symlinks on the way followed, and on the mount of which it must be. Empty: the
	// caller vouches for Source, which then is no symlink itself.
	Within string `json:",omitempty"`

	// Replace puts a file in the place of a symlink that the template has at Target.
	// If false, a symlink there is an error, as one on the way to it always is.
	Replace bool `json:",omitempty"`
}

// A Scratch is a file system in memory that everyone in the sandbox may write to,
// nosuid and nodev. What is in it is memory of the sandbox's, and gone with it.
type Scratch struct {
	Target string // absolute, in the sandbox; made when missing. /tmp takes the place of the usual one
	Size   int64  // bytes; it has a file for each 4 KiB. 0 means half of Limits.Memory
	Exec   bool   // what is in it may be executed
}

// MinScratch is the smallest size of a [Scratch].
const MinScratch = wholePages

// reserved are the folders in which the plan mounts file systems of its own.
var reserved = []string{"/proc", "/sys", "/dev"}

// maxTarget is the longest path that something may be mounted at.
const maxTarget = 1024

// CheckTarget says why nothing may be mounted at a path of a sandbox. It is pure:
// whether the path leads through a symlink only a launch finds out.
func CheckTarget(p string) error {
	switch {
	case !cleanAbs(p) || p == "/":
		return errors.New("must be an absolute path without \"..\", and not /")
	case len(p) > maxTarget:
		return fmt.Errorf("must be at most %d bytes", maxTarget)
	case strings.ContainsFunc(p, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return errors.New("must not hold control characters")
	}
	for _, dir := range reserved {
		if under(p, dir) {
			return fmt.Errorf("must not lie in %s", dir)
		}
	}
	return nil
}

// Nested tells whether one of two targets lies in the other or is the same.
func Nested(a, b string) bool { return under(a, b) || under(b, a) }

func (s Spec) validateMounts() error {
	bad := func(field, format string, args ...any) error { return &SpecError{field, fmt.Sprintf(format, args...)} }
	for _, b := range s.Binds {
		if !cleanAbs(b.Source) {
			return bad("Binds", "the source must be a clean absolute path")
		}
		if b.Within != "" && (!cleanAbs(b.Within) || !under(b.Source, b.Within)) {
			return bad("Binds", "the source must lie within %s", b.Within)
		}
		if err := CheckTarget(b.Target); err != nil {
			return bad("Binds", "the target %v", err)
		}
	}
	for _, v := range s.Volumes {
		if !cleanAbs(v.Image) {
			return bad("Volumes", "the image must be a clean absolute path")
		}
		if _, err := VolumeShape(v.Size); err != nil {
			return bad("Volumes", "%v", err)
		}
		if err := CheckTarget(v.Target); err != nil {
			return bad("Volumes", "the target %v", err)
		}
	}
	for _, f := range s.FileSystems {
		if err := f.validate(); err != nil {
			return err
		}
	}
	memory := s.Limits.withDefaults().Memory
	for _, t := range s.Scratch {
		if err := CheckTarget(t.Target); err != nil {
			return bad("Scratch", "the target %v", err)
		}
		if t.Size < 0 || t.Size != 0 && t.Size < MinScratch || t.Size > memory {
			return bad("Scratch", "the size must be %d bytes to the limit of memory, or 0 for half of that", int64(MinScratch))
		}
	}
	points := s.mountPoints(Version{})
	for i, a := range points {
		for j, b := range points {
			if i != j && under(a.target, b.target) && (a.target == b.target || !b.sealed) {
				return bad(a.field, "%s lies in %s, where something else is mounted", a.target, b.target)
			}
		}
	}
	return nil
}

// A mountPoint is something that a spec wants mounted.
type mountPoint struct {
	field  string // of the spec
	target string
	step   Step
	sealed bool // nobody writes to it: others may lie in it
}

// mountPoints are in an order in which each comes after those that it lies in. The
// kernel is for their steps.
func (s Spec) mountPoints(kernel Version) []mountPoint {
	var points []mountPoint
	for _, b := range s.Binds {
		flags := NoSuid | NoDev
		if !b.Writable {
			flags |= ReadOnly
		}
		points = append(points, mountPoint{"Binds", b.Target, BindStep{b, flags}, !b.Writable})
	}
	for _, v := range s.Volumes {
		points = append(points, mountPoint{"Volumes", v.Target, v.step(), false})
	}
	for _, f := range s.FileSystems {
		points = append(points, mountPoint{"FileSystems", f.Target, f.step(kernel), true})
	}
	for _, t := range s.Scratch {
		size, flags := t.Size, NoSuid|NoDev|NoExec
		if size == 0 {
			size = s.Limits.Memory / 2
		}
		if t.Exec {
			flags &^= NoExec
		}
		points = append(points, mountPoint{"Scratch", t.Target, Mount{"tmpfs", t.Target, scratch(size), flags}, false})
	}
	slices.SortStableFunc(points, func(a, b mountPoint) int {
		return strings.Count(a.target, "/") - strings.Count(b.target, "/")
	})
	return points
}

// mountSteps mount what the spec wants mounted. A tree that nobody may write to
// gets a cover in which mount points can be made, as long as they are made.
func (s Spec) mountSteps(kernel Version) []Step {
	var steps, seals []Step
	points := s.mountPoints(kernel)
	for _, p := range points {
		steps = append(steps, p.step)
		holds := func(q mountPoint) bool { return q.target != p.target && under(q.target, p.target) }
		if slices.ContainsFunc(points, holds) {
			steps = append(steps, Extend{p.target, overlayOptions, NoSuid | NoDev})
			seals = append(seals, Protect{p.target, ReadOnly})
		}
	}
	return append(steps, seals...)
}

// mounts tells whether the spec wants something mounted at the target.
func (s Spec) mounts(target string) bool {
	return slices.ContainsFunc(s.mountPoints(Version{}), func(p mountPoint) bool { return p.target == target })
}
