//go:build integration

package oracle

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/gilliam/hypervisor/isolate"
	"github.com/gilliam/hypervisor/isolate/spawn"
)

// A floor runs plans with nothing but the system calls that their files,
// namespaces and ids need: no cgroup, no PID 1, no capabilities, limits or filter.
// It is what no launch of these sandboxes can be faster than, not a sandbox: its
// procfs is the host's, and its program is root of the user namespace.
type floor struct {
	root  string   // where the root is mounted, unseen by the host
	users *os.File // user namespace of the plans' ids
	empty string   // a masked folder, once there is one
}

// run makes the plan's layer, runs its program to the end and removes the layer.
func (f *floor) run(p isolate.Plan) error {
	root, _ := rootOf(p)
	layer := filepath.Dir(root.Upper)
	for _, dir := range []string{layer, root.Upper, root.Work} {
		if err := unix.Mkdir(dir, 0o755); err != nil {
			return fmt.Errorf("mkdir %s: %w", dir, err)
		}
	}
	if err := unix.Chown(root.Upper, int(p.IDs.Base), int(p.IDs.Base)); err != nil {
		return err
	}
	result := make(chan error)
	// Owned by run, which waits for result.
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with this goroutine
		result <- f.launch(p, root)
	}()
	if err := <-result; err != nil {
		return err
	}
	// What the overlay leaves; the names differ between kernels, and the last tells.
	_ = unix.Unlink(root.Work + "/work/incompat/volatile/dirty")
	for _, dir := range []string{"/work/incompat/volatile", "/work/incompat", "/work", ""} {
		_ = unix.Rmdir(root.Work + dir)
	}
	_ = unix.Rmdir(root.Upper)
	return unix.Rmdir(layer)
}

// launch does it on a thread that ends afterwards.
func (f *floor) launch(p isolate.Plan, root isolate.MountRoot) error {
	outside, err := os.Open("/proc/thread-self/ns/mnt")
	if err != nil {
		return err
	}
	defer outside.Close()
	const namespaces = unix.CLONE_NEWNS | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC | unix.CLONE_NEWNET | unix.CLONE_NEWCGROUP
	if err := unix.Unshare(unix.CLONE_FS | namespaces); err != nil {
		return fmt.Errorf("unshare: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := f.mounts(p, root); err != nil {
		return err
	}
	program, err := os.Open(p.Args[0])
	if err != nil {
		return err
	}
	defer program.Close()
	process, err := spawn.Start(spawn.Program{
		Executable: program, Args: p.Args, Env: p.Env,
		Namespaces: unix.CLONE_NEWPID | unix.CLONE_NEWUSER, IDs: spawn.IDs(p.IDs),
	})
	if err != nil {
		return err
	}
	if state, err := process.Wait(); err != nil || !state.Success() {
		return fmt.Errorf("%s ended with %v: %w", p.Args[0], state, err)
	}
	return unix.Setns(int(outside.Fd()), unix.CLONE_NEWNS) // which ends the sandbox's mounts
}

// mounts makes the plan's files and enters them.
func (f *floor) mounts(p isolate.Plan, root isolate.MountRoot) error {
	if err := mountRoot(f.root, root, f.users); err != nil {
		return err
	}
	if err := unix.Chdir(f.root); err != nil {
		return err
	}
	unix.Umask(0)
	f.empty = ""
	for _, step := range p.Steps {
		if err := f.do(step); err != nil {
			return fmt.Errorf("%s: %w", step, err)
		}
	}
	if err := unix.Mount("none", "proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mount proc: %w", err)
	}
	for _, path := range p.Masked {
		if err := f.mask(path[1:]); err != nil {
			return fmt.Errorf("mask %s: %w", path, err)
		}
	}
	for _, path := range p.ReadOnly {
		if err := unix.Mount(path[1:], path[1:], "", unix.MS_BIND, ""); err == unix.ENOENT {
			continue
		} else if err != nil {
			return fmt.Errorf("bind %s: %w", path, err)
		}
		if err := unix.Mount("", path[1:], "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
			return fmt.Errorf("remount %s: %w", path, err)
		}
	}
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("pivot_root: %w", err)
	}
	return unix.Unmount(".", unix.MNT_DETACH)
}

// do does one step in the working directory.
func (f *floor) do(step isolate.Step) error {
	switch s := step.(type) {
	case isolate.Mount:
		if err := unix.Mkdir(s.Target[1:], 0o755); err != nil && err != unix.EEXIST {
			return err
		}
		return unix.Mount("none", s.Target[1:], s.Type, flagsOf(s.Flags), strings.Join(s.Options, ","))
	case isolate.Mkdir:
		if err := unix.Mkdir(s.Path[1:], 0o755); err != unix.EEXIST {
			return err
		}
	case isolate.Device:
		return unix.Mknod(s.Path[1:], unix.S_IFCHR|0o666, int(unix.Mkdev(s.Major, s.Minor)))
	case isolate.Symlink:
		return unix.Symlink(s.Target, s.Path[1:])
	case isolate.Mask:
		return f.mask(s.Path[1:])
	case isolate.Protect:
		return unix.Mount("", s.Path[1:], "", unix.MS_REMOUNT|unix.MS_BIND|flagsOf(s.Flags), "")
	}
	return nil
}

// mask hides a file behind the null device or a folder behind an empty one, if
// there is any.
func (f *floor) mask(path string) error {
	err := unix.Mount("dev/null", path, "", unix.MS_BIND, "")
	switch {
	case err == unix.ENOENT:
		return nil
	case err != unix.ENOTDIR:
		return err
	case f.empty != "":
		return unix.Mount(f.empty, path, "", unix.MS_BIND, "")
	}
	f.empty = path
	return unix.Mount("none", path, "tmpfs", unix.MS_RDONLY, "size=0,nr_inodes=1,mode=555")
}
