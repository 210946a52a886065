package isolate

import (
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/gilliam/hypervisor/isolate/failpoint"
)

// A layers mounts the images that layers are in, each nowhere: a mount that only a
// descriptor holds, until a launch thread attaches it in its own mount namespace. Who
// holds such a descriptor keeps the file system from being taken apart, which
// writes what is not written yet, while somebody waits.
type layers struct {
	open  sync.Once
	loops *loops
	err   error

	closing sync.WaitGroup
	few     chan struct{} // bounds how many are taken apart at once
}

const closersAtOnce = 4

func newLayers() *layers { return &layers{few: make(chan struct{}, closersAtOnce)} }

// mount mounts the image of a step, once it is known to be what the plan says.
func (l *layers) mount(s MountLayer, ids IDRange) (*os.File, error) {
	l.open.Do(func() { l.loops, l.err = openLoops() })
	if l.err != nil {
		return nil, l.err
	}
	image, err := os.OpenFile(s.Image, os.O_RDWR|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	defer image.Close()
	device, err := l.loops.attach(image)
	if err != nil {
		return nil, err
	}
	defer unix.Close(device)
	options := append([]string{"source=/proc/thread-self/fd/" + strconv.Itoa(device)}, s.Options...)
	fd, err := newMount("ext4", options, s.Flags)
	if err != nil {
		return nil, err
	}
	mnt := os.NewFile(uintptr(fd), s.Image)
	if err := furnishLayer(fd, s, ids); err != nil {
		mnt.Close()
		return nil, err
	}
	failpoint.Hit("isolate.layer.mounted")
	return mnt, nil
}

// furnishLayer makes the folders of overlayfs in a file system that is as planned.
func furnishLayer(fd int, s MountLayer, ids IDRange) error {
	var st unix.Statfs_t
	if err := unix.Fstatfs(fd, &st); err != nil {
		return fmt.Errorf("statfs: %w", err)
	}
	if got, want := diskFact(int64(st.Blocks)*st.Bsize, int64(st.Files)), diskFact(s.Bytes, s.Inodes); got != want {
		return fmt.Errorf("it has %s, and must have %s", got, want)
	}
	for name, mode := range map[string]uint32{upperName: 0o755, workName: 0o700} {
		if err := unix.Mkdirat(fd, name, mode); err != nil {
			return &os.PathError{Op: "mkdir", Path: name, Err: err}
		}
		if err := unix.Fchmodat(fd, name, mode, 0); err != nil { // whatever the umask
			return &os.PathError{Op: "chmod", Path: name, Err: err}
		}
	}
	if err := unix.Fchownat(fd, upperName, int(ids.Base), int(ids.Base), unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return &os.PathError{Op: "chown", Path: upperName, Err: err}
	}
	return nil
}

// layer mounts the plan's layer, if it is in an image. Its error is the step's.
func (e *Engine) layer(p Plan) (*os.File, error) {
	s, ok := p.disk()
	if !ok {
		return nil, nil
	}
	return e.layers.mount(s, p.IDs)
}

// mountLayer attaches the layer's file system over the folder of its image.
func (b *builder) mountLayer(s MountLayer) error {
	mnt, err := b.layer.wait()
	if err != nil {
		return err
	}
	dir := path.Dir(s.Image)
	at, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: dir, Err: err}
	}
	defer unix.Close(at)
	return attach(int(mnt.Fd()), at)
}

// release lets go of a mount without waiting for the kernel.
func (l *layers) release(mnt *os.File) {
	if mnt == nil {
		return
	}
	// Owned by the layers, whose close waits for it.
	l.closing.Go(func() {
		l.few <- struct{}{}
		defer func() { <-l.few }()
		mnt.Close()
	})
}

// close waits until what was released is taken apart.
func (l *layers) close() {
	l.closing.Wait()
	if l.loops != nil {
		l.loops.close()
	}
}

// usedDisk reads what a sandbox has used of its layer: overlayfs answers statfs(2)
// for the file system of its upper layer (ovl_statfs in fs/overlayfs/super.c). It
// opens nothing in the sandbox.
func (s *Sandbox) usedDisk(u *Usage) error {
	layer, limited := s.plan.disk()
	if !limited || s.process == nil {
		return nil
	}
	var st unix.Statfs_t
	err := unix.Statfs("/proc/"+strconv.Itoa(s.process.Pid)+"/root", &st)
	// The process that has the number now is ours only if ours has not ended.
	if ended := s.process.Signal(unix.Signal(0)); ended != nil {
		return nil
	}
	if err != nil {
		return fmt.Errorf("statfs of sandbox %s: %w", s.id, err)
	}
	if diskFact(int64(st.Blocks)*st.Bsize, int64(st.Files)) != diskFact(layer.Bytes, layer.Inodes) {
		return errors.New("statfs of sandbox " + s.id + ": its root is not its layer")
	}
	u.Disk, u.DiskLimit = (st.Blocks-st.Bfree)*uint64(st.Bsize), uint64(layer.Bytes)
	u.Inodes, u.InodesLimit = st.Files-st.Ffree, uint64(layer.Inodes)
	return nil
}

// disk reads the limits of the program's root.
func (r *factReader) disk() error {
	if _, limited := r.sandbox.plan.disk(); !limited {
		return nil
	}
	var st unix.Statfs_t
	if err := unix.Statfs(filepath.Join(r.dir, "root"), &st); err != nil {
		return &os.PathError{Op: "statfs", Path: filepath.Join(r.dir, "root"), Err: err}
	}
	r.f["disk"] = diskFact(int64(st.Blocks)*st.Bsize, int64(st.Files))
	return nil
}

// probeDiskLimit says why layers cannot be in images, or nothing where they can. The
// kernel loads what of it is a module.
func probeDiskLimit() string {
	l, err := openLoops()
	if err != nil {
		return "no loop devices (modprobe loop): " + err.Error()
	}
	l.close()
	fs, err := unix.Fsopen("ext4", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return "no ext4 (modprobe ext4): " + err.Error()
	}
	unix.Close(fs)
	return ""
}
