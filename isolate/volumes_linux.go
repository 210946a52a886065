package isolate

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// mountVolume mounts the file system in a volume's image.
func (b *builder) mountVolume(s MountVolume) error {
	mnt, err := b.layers.volume(s, b.userns)
	if err != nil {
		return err
	}
	return b.place(mnt, s.Target)
}

// volume mounts the image of a volume nowhere, once nobody else has it and it is known
// to be what the plan says.
func (l *layers) volume(s MountVolume, userns int) (int, error) {
	loops, err := l.devices()
	if err != nil {
		return -1, err
	}
	image, err := os.OpenFile(s.Image, os.O_RDWR|unix.O_NOFOLLOW, 0)
	if err != nil {
		return -1, err
	}
	defer image.Close()
	if err := lockImage(image, lockPatience); err != nil {
		return -1, err
	}
	device, err := loops.attach(image)
	if err != nil {
		return -1, err
	}
	defer unix.Close(device)
	mnt, err := newMountOf(device, "ext4", s.Options, s.Flags)
	if err != nil {
		return -1, err
	}
	if err := showVolume(mnt, s, userns); err != nil {
		unix.Close(mnt)
		return -1, err
	}
	return mnt, nil
}

// showVolume makes a file system that is as planned one of the sandbox's ids.
func showVolume(mnt int, s MountVolume, userns int) error {
	got, err := sizeOf(mnt)
	if err != nil {
		return err
	}
	if want := diskFact(s.Bytes, s.Inodes); got != want {
		return fmt.Errorf("it has %s, and must have %s", got, want)
	}
	return idmap(mnt, userns)
}

// sizeOf is what a file system has, as a fact.
func sizeOf(fd int) (string, error) {
	var st unix.Statfs_t
	if err := unix.Fstatfs(fd, &st); err != nil {
		return "", fmt.Errorf("statfs: %w", err)
	}
	return diskFact(int64(st.Blocks)*st.Bsize, int64(st.Files)), nil
}

// lockPatience is how long the kernel may take to take apart, and write to the disk,
// what a sandbox has left behind that has ended. Tests change it.
var lockPatience = 30 * time.Second

// lockImage waits until nobody else has an image, and locks it. The lock is that of
// the open file, which the loop device keeps open: it ends when the kernel has taken
// the device apart, whatever becomes of us (flock(2)). Two devices of one image would
// destroy what is in it.
func lockImage(image *os.File, patience time.Duration) error {
	fd := int(image.Fd())
	err := unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB)
	if err != unix.EWOULDBLOCK {
		return lockError(image, err)
	}
	ours, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return lockError(image, err)
	}
	locked := make(chan error, 1)
	// Owned by the image: ends when nobody else has it.
	go func() {
		defer unix.Close(ours)
		for {
			if err := unix.Flock(ours, unix.LOCK_EX); err != unix.EINTR {
				locked <- err
				return
			}
		}
	}()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case err := <-locked:
		return lockError(image, err)
	case <-timer.C:
		return lockError(image, unix.EBUSY)
	}
}

func lockError(image *os.File, err error) error {
	switch err {
	case nil:
		return nil
	case unix.EBUSY:
		return fmt.Errorf("%s: another sandbox has it: %w", image.Name(), err)
	}
	return &os.PathError{Op: "flock", Path: image.Name(), Err: err}
}

// atVolumes calls f with each volume's own mount, for whoever is named by a folder of
// proc(5). Targets are looked for as a mount's is: what the sandbox has put in the way
// is not followed.
func (p Plan) atVolumes(dir string, f func(v MountVolume, fd int, err error)) error {
	list := p.volumes()
	if len(list) == 0 {
		return nil
	}
	path := filepath.Join(dir, "root")
	root, err := unix.Open(path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(root)
	for _, v := range list {
		fd, err := openIn(root, v.Target, unix.O_DIRECTORY)
		f(v, fd, err)
		if err == nil {
			unix.Close(fd)
		}
	}
	return nil
}

// volumes reads what the file systems of volumes have.
func (r *factReader) volumes() error {
	return r.sandbox.plan.atVolumes(r.dir, func(v MountVolume, fd int, err error) {
		fact := ""
		if err == nil {
			fact, err = sizeOf(fd)
		}
		if err != nil {
			fact = err.Error()
		}
		r.f["disk "+v.Target] = fact
	})
}

// usedVolumes reads how full volumes are. One that the program has moved out of sight
// is left out.
func (s *Sandbox) usedVolumes(u *Usage) error {
	if s.process == nil {
		return nil
	}
	var list []VolumeUsage
	err := s.plan.atVolumes("/proc/"+strconv.Itoa(s.process.Pid), func(v MountVolume, fd int, err error) {
		var st unix.Statfs_t
		if err != nil || unix.Fstatfs(fd, &st) != nil || diskFact(int64(st.Blocks)*st.Bsize, int64(st.Files)) != diskFact(v.Bytes, v.Inodes) {
			return
		}
		list = append(list, VolumeUsage{
			Target: v.Target, Disk: (st.Blocks - st.Bfree) * uint64(st.Bsize), DiskLimit: uint64(v.Bytes),
			Inodes: st.Files - st.Ffree, InodesLimit: uint64(v.Inodes),
		})
	})
	// The process that has the number now is ours only if ours has not ended.
	if s.process.Signal(unix.Signal(0)) != nil {
		return nil
	}
	u.Volumes = list
	return err
}
