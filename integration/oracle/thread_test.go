//go:build integration

package oracle

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/gilliam/hypervisor/isolate"
)

// privately runs f on a thread with a mount namespace of its own, which ends
// with f: the host's mount table never shows what f mounts.
func privately(f func() error) error {
	done := make(chan error)
	// Owned by privately, which waits for done.
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with this goroutine
		if err := unix.Unshare(unix.CLONE_NEWNS | unix.CLONE_FS); err != nil {
			done <- fmt.Errorf("unshare: %w", err)
			return
		}
		if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
			done <- fmt.Errorf("make mounts private: %w", err)
			return
		}
		done <- f()
	}()
	return <-done
}

// rootOf is the step that mounts the sandbox's root.
func rootOf(p isolate.Plan) (isolate.MountRoot, bool) {
	for _, s := range p.Steps {
		if root, ok := s.(isolate.MountRoot); ok {
			return root, true
		}
	}
	return isolate.MountRoot{}, false
}

// mountRoot mounts at dir what the plan mounts as the sandbox's root, by the old
// mount(2): an overlay over an idmapped view of the template. The layers are
// named by descriptors, so that the sandbox is not told where they are.
func mountRoot(dir string, root isolate.MountRoot, users *os.File) error {
	lower, err := unix.OpenTree(unix.AT_FDCWD, root.Lowers[0], unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return fmt.Errorf("open_tree %s: %w", root.Lowers[0], err)
	}
	defer unix.Close(lower)
	err = unix.MountSetattr(lower, "", unix.AT_EMPTY_PATH, &unix.MountAttr{
		Attr_set: unix.MOUNT_ATTR_IDMAP | unix.MOUNT_ATTR_RDONLY, Userns_fd: uint64(users.Fd()),
	})
	if err != nil {
		return fmt.Errorf("idmap %s: %w", root.Lowers[0], err)
	}
	upper, err := os.Open(root.Upper)
	if err != nil {
		return err
	}
	defer upper.Close()
	work, err := os.Open(root.Work)
	if err != nil {
		return err
	}
	defer work.Close()
	// Before Linux 6.15 a layer must be attached.
	if err := unix.MoveMount(lower, "", unix.AT_FDCWD, dir, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return fmt.Errorf("attach the layer: %w", err)
	}
	data := fmt.Sprintf("lowerdir=/proc/self/fd/%d,upperdir=/proc/self/fd/%d,workdir=/proc/self/fd/%d,%s",
		lower, upper.Fd(), work.Fd(), strings.Join(root.Options, ","))
	if err := unix.Mount("none", dir, "overlay", flagsOf(root.Flags), data); err != nil {
		return fmt.Errorf("mount overlay %s: %w", data, err)
	}
	return nil
}

// flagsOf are f as mount(2) wants them.
func flagsOf(f isolate.MountFlags) (flags uintptr) {
	for flag, bit := range map[isolate.MountFlags]uintptr{
		isolate.ReadOnly: unix.MS_RDONLY, isolate.NoSuid: unix.MS_NOSUID,
		isolate.NoDev: unix.MS_NODEV, isolate.NoExec: unix.MS_NOEXEC,
	} {
		if f&flag != 0 {
			flags |= bit
		}
	}
	return flags
}

// userNamespace makes a user namespace for idmapped mounts.
func userNamespace(tb testing.TB, ids isolate.IDRange) *os.File {
	tb.Helper()
	mapping := []syscall.SysProcIDMap{{ContainerID: 0, HostID: int(ids.Base), Size: int(ids.Size)}}
	child := exec.Command("/bin/cat") // until its input ends
	child.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWUSER, UidMappings: mapping, GidMappings: mapping,
	}
	input, err := child.StdinPipe()
	if err != nil {
		tb.Fatal(err)
	}
	if err := child.Start(); err != nil {
		tb.Fatal(err)
	}
	ns, err := os.Open(fmt.Sprintf("/proc/%d/ns/user", child.Process.Pid))
	if err != nil {
		tb.Error(err)
	}
	input.Close()
	if err := child.Wait(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { ns.Close() })
	return ns
}
