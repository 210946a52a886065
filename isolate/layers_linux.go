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
	mu    sync.Mutex
	loops *loops // nil until a layer needs one
	ready map[fileID]ready

	closing sync.WaitGroup
	few     chan struct{} // bounds how many are taken apart at once
}

const closersAtOnce = 4

// A ready is a mounted image that no launch has asked for yet.
type ready struct{ mnt, image *os.File }

// removed tells whether nobody can ask for it any more.
func (r ready) removed() bool {
	var st unix.Stat_t
	return unix.Fstat(int(r.image.Fd()), &st) == nil && st.Nlink == 0
}

// A fileID is a file by what it is, wherever it is moved to.
type fileID struct{ dev, ino uint64 }

func newLayers() *layers {
	return &layers{ready: make(map[fileID]ready), few: make(chan struct{}, closersAtOnce)}
}

// PrepareLayer does what a launch does with the image of a layer, before anybody
// knows whose it will be. The launch may find the image elsewhere by then.
func (e *Engine) PrepareLayer(image string, limits Limits) error {
	s := Spec{Layer: Layer{Image: image}, Limits: limits}
	if err := errors.Join(limits.Check(), s.validateLayer()); err != nil {
		return err
	}
	steps, _ := planLayer(s)
	return e.layers.prepare(steps[0].(MountLayer))
}

func (l *layers) prepare(s MountLayer) error {
	image, id, err := openImage(s.Image)
	if err != nil {
		return err
	}
	mnt, err := l.make(image, s)
	if err != nil {
		image.Close()
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.drop(ready.removed)
	l.ready[id] = ready{mnt, image}
	return nil
}

// drop lets go of those that are as is says. Callers hold l.mu.
func (l *layers) drop(is func(ready) bool) {
	for id, r := range l.ready {
		if is(r) {
			delete(l.ready, id)
			r.image.Close()
			l.release(r.mnt)
		}
	}
}

// take is the mount of an image that was prepared, nil of one that was not.
func (l *layers) take(id fileID) *os.File {
	l.mu.Lock()
	defer l.mu.Unlock()
	r, ok := l.ready[id]
	if !ok {
		return nil
	}
	delete(l.ready, id)
	r.image.Close()
	return r.mnt
}

// mount mounts the image of a step, for the sandbox with these ids.
func (l *layers) mount(s MountLayer, ids IDRange) (*os.File, error) {
	image, id, err := openImage(s.Image)
	if err != nil {
		return nil, err
	}
	defer image.Close()
	mnt := l.take(id)
	if mnt == nil {
		if mnt, err = l.make(image, s); err != nil {
			return nil, err
		}
	}
	if err := checkLayer(mnt, s, ids); err != nil {
		mnt.Close()
		return nil, err
	}
	failpoint.Hit("isolate.layer.mounted")
	return mnt, nil
}

func openImage(path string) (*os.File, fileID, error) {
	image, err := os.OpenFile(path, os.O_RDWR|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, fileID{}, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(image.Fd()), &st); err != nil {
		image.Close()
		return nil, fileID{}, &os.PathError{Op: "stat", Path: path, Err: err}
	}
	return image, fileID{st.Dev, st.Ino}, nil
}

// make mounts an image that nobody has used and makes the folders of overlayfs in it.
func (l *layers) make(image *os.File, s MountLayer) (*os.File, error) {
	loops, err := l.devices()
	if err != nil {
		return nil, err
	}
	device, err := loops.attach(image)
	if err != nil {
		return nil, err
	}
	defer unix.Close(device)
	fd, err := newMountOf(device, "ext4", s.Options, s.Flags)
	if err != nil {
		return nil, err
	}
	mnt := os.NewFile(uintptr(fd), s.Image)
	for name, mode := range map[string]uint32{upperName: 0o755, workName: 0o700} {
		if err = unix.Mkdirat(fd, name, mode); err == nil {
			err = unix.Fchmodat(fd, name, mode, 0) // whatever the umask
		}
		if err != nil {
			mnt.Close()
			return nil, &os.PathError{Op: "mkdir", Path: name, Err: err}
		}
	}
	return mnt, nil
}

// devices is the loop driver, once it is opened.
func (l *layers) devices() (_ *loops, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.loops == nil {
		l.loops, err = openLoops()
	}
	return l.loops, err
}

// checkLayer wants the file system to be as planned, and gives it to its sandbox.
func checkLayer(mnt *os.File, s MountLayer, ids IDRange) error {
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(mnt.Fd()), &st); err != nil {
		return fmt.Errorf("statfs: %w", err)
	}
	if got, want := diskFact(int64(st.Blocks)*st.Bsize, int64(st.Files)), diskFact(s.Bytes, s.Inodes); got != want {
		return fmt.Errorf("it has %s, and must have %s", got, want)
	}
	if err := unix.Fchownat(int(mnt.Fd()), upperName, int(ids.Base), int(ids.Base), unix.AT_SYMLINK_NOFOLLOW); err != nil {
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

// takeLayer is what holds the layer's file system, once.
func (s *Sandbox) takeLayer() *os.File {
	s.mu.Lock()
	defer s.mu.Unlock()
	layer := s.layer
	s.layer = nil
	return layer
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

// close takes apart what nobody has asked for, and waits for the rest.
func (l *layers) close() {
	l.mu.Lock()
	l.drop(func(ready) bool { return true })
	l.mu.Unlock()
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
	// The process that has the number now is ours only if ours has not ended; one that
	// ends has no root.
	if ended := s.process.Signal(unix.Signal(0)); ended != nil || err == unix.ENOENT || err == unix.ESRCH {
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
