package isolate

import (
	"errors"
	"os"
	"path"

	"golang.org/x/sys/unix"
)

// A builder applies the steps of a plan in the mount namespace of its thread.
type builder struct {
	at     string // where the root is mounted
	userns int    // user namespace for idmapped mounts
	layers *layers
	layer  *later[*os.File] // the plan's own
	owner  int              // the sandbox's root, on the host
	root   int              // the sandbox's root folder, once it is mounted
	empty  int              // an empty read-only folder, once a mask needed one
}

// build does the plan's steps, in the middle of them enters the network namespace,
// and makes the root the thread's working directory. What it mounts goes away with
// the thread's mount namespace; it owns only descriptors.
func build(p Plan, userns int, layers *layers, network, layer *later[*os.File]) error {
	b := builder{at: p.Root, owner: int(p.IDs.Base), userns: userns, layers: layers, layer: layer, root: -1, empty: -1}
	defer func() {
		unix.Close(b.root)
		unix.Close(b.empty)
	}()
	here := p.beforeNetwork()
	if err := b.apply(p.Steps[:here]); err != nil {
		return err
	}
	ns, err := network.wait()
	if err != nil {
		return err
	}
	if err := enterNetwork(ns); err != nil {
		return err
	}
	if err := b.apply(p.Steps[here:]); err != nil {
		return err
	}
	if err := unix.Fchdir(b.root); err != nil {
		return &StepError{"enter root", err}
	}
	return nil
}

// apply does the steps in order.
func (b *builder) apply(steps []Step) error {
	for _, s := range steps {
		if err := b.do(s); err != nil {
			return &StepError{s.String(), err}
		}
	}
	return nil
}

func (b *builder) do(step Step) error {
	switch s := step.(type) {
	case MountLayer:
		return b.mountLayer(s)
	case MountRoot:
		return b.mountRoot(s)
	case BindRoot:
		return b.bindRoot(s)
	case Mount:
		return b.mount(s)
	case Mkdir:
		return b.mkdir(s.Path, 0o755)
	case Device:
		return b.in(s.Path, func(dir int, name string) error {
			return unix.Mknodat(dir, name, unix.S_IFCHR|0o666, int(unix.Mkdev(s.Major, s.Minor)))
		})
	case Symlink:
		return b.in(s.Path, func(dir int, name string) error {
			return unix.Symlinkat(s.Target, dir, name)
		})
	case BindStep:
		return b.bind(s)
	case Extend:
		return b.extend(s)
	case MountVolume:
		return b.mountVolume(s)
	case MountFileSystem:
		return b.mountFileSystem(s)
	case Mask:
		return b.mask(s.Path)
	case Protect:
		return b.protect(s)
	}
	return errors.New("bug: unknown step")
}

func (b *builder) mount(s Mount) error {
	mnt, err := newMount(s.Type, s.Options, s.Flags)
	if err != nil {
		return err
	}
	return b.place(mnt, s.Target)
}

// place attaches a mount to a folder of the root, and closes it.
func (b *builder) place(mnt int, target string) error {
	defer unix.Close(mnt)
	at, err := b.target(target, true, false)
	if err != nil {
		return err
	}
	defer unix.Close(at)
	return attach(mnt, at)
}

// target opens a place to mount on, and makes it when it is missing. A template
// in which it, or a folder on the way to it, is a symlink is refused, but a file
// may replace a symlink in the layer.
func (b *builder) target(p string, isDir, replace bool) (int, error) {
	if isDir {
		at, err := openIn(b.root, p, unix.O_DIRECTORY)
		if err != unix.ENOENT {
			return at, err
		}
		if err := b.mkdir(p, 0o755); err != nil {
			return -1, err
		}
		return openIn(b.root, p, unix.O_DIRECTORY)
	}
	at, err := openIn(b.root, p, 0)
	if err == nil {
		return at, nil
	}
	if err == unix.ELOOP && replace {
		if err := b.in(p, func(dir int, name string) error { return unix.Unlinkat(dir, name, 0) }); err != nil {
			return -1, err
		}
	} else if err != unix.ENOENT {
		return -1, err
	}
	if err := b.mkdir(path.Dir(p), 0o755); err != nil {
		return -1, err
	}
	err = b.in(p, func(dir int, name string) error {
		return unix.Mknodat(dir, name, unix.S_IFREG|0o444, 0)
	})
	if err != nil {
		return -1, err
	}
	return openIn(b.root, p, 0)
}

// mkdir makes p and the folders above it that are missing. They are the sandbox's
// root's.
func (b *builder) mkdir(p string, mode uint32) error {
	if p == "/" {
		return nil
	}
	if at, err := openIn(b.root, p, unix.O_DIRECTORY); err == nil {
		return unix.Close(at)
	} else if err != unix.ENOENT {
		return err
	}
	mkdir := func(dir int, name string) error {
		if err := unix.Mkdirat(dir, name, mode); err != nil {
			return err
		}
		return unix.Fchownat(dir, name, b.owner, b.owner, unix.AT_SYMLINK_NOFOLLOW)
	}
	err := b.in(p, mkdir)
	if err != unix.ENOENT {
		return err
	}
	if err := b.mkdir(path.Dir(p), mode); err != nil {
		return err
	}
	return b.in(p, mkdir)
}

// in calls f with the folder that holds p, and p's name in it.
func (b *builder) in(p string, f func(dir int, name string) error) error {
	dir, err := openIn(b.root, path.Dir(p), unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer unix.Close(dir)
	return f(dir, path.Base(p))
}

// mask hides what is at p, if anything is.
func (b *builder) mask(p string) error {
	at, err := openIn(b.root, p, 0)
	if err == unix.ENOENT || err == unix.ENOTDIR {
		return nil
	}
	if err != nil {
		return err
	}
	defer unix.Close(at)
	var st unix.Stat_t
	if err := unix.Fstat(at, &st); err != nil {
		return err
	}
	cover, err := b.cover(st.Mode&unix.S_IFMT == unix.S_IFDIR)
	if err != nil {
		return err
	}
	defer unix.Close(cover)
	return attach(cover, at)
}

// cover is a mount to hide a folder or a file behind, not attached yet. The
// first one for a folder is the empty file system's own mount and the others are
// copies of it: before Linux 6.15 a detached mount cannot be copied.
func (b *builder) cover(dir bool) (int, error) {
	if !dir {
		null, err := openIn(b.root, "/dev/null", 0)
		if err != nil {
			return -1, err
		}
		defer unix.Close(null)
		return cloneMount(null, "", 0, -1)
	}
	if b.empty < 0 {
		empty, err := newMount("tmpfs", []string{"size=0", "nr_inodes=1", "mode=555"}, ReadOnly|NoSuid|NoDev|NoExec)
		if err != nil {
			return -1, err
		}
		b.empty = empty
		return unix.FcntlInt(uintptr(empty), unix.F_DUPFD_CLOEXEC, 0)
	}
	return cloneMount(b.empty, "", 0, -1)
}

func (b *builder) protect(s Protect) error {
	at, err := openIn(b.root, s.Path, 0)
	if err != nil {
		return err
	}
	defer unix.Close(at)
	return unix.MountSetattr(at, "", unix.AT_EMPTY_PATH, &unix.MountAttr{Attr_set: uint64(s.Flags.attrs())})
}
