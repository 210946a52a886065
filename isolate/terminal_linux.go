package isolate

import (
	"fmt"
	"os"

	"github.com/opencontainers/runc/libcontainer/system"
	"golang.org/x/sys/unix"
)

// newTerminal makes a terminal in the sandbox's own devpts, for its user. The
// sandbox cannot say which file system that is: its /dev is read-only, no symlink
// is followed on the way, and what is found must be a devpts.
func (s *Sandbox) newTerminal(size Size) (master, slave *os.File, err error) {
	root, err := unix.Open(fmt.Sprintf("/proc/%d/root", s.PID()), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("open its root: %w", err)
	}
	defer unix.Close(root)
	fd, err := unix.Openat2(root, "dev/pts/ptmx", &unix.OpenHow{
		Flags:   unix.O_RDWR | unix.O_NOCTTY | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS,
	})
	if err != nil {
		return nil, nil, fmt.Errorf("open its ptmx: %w", err)
	}
	master = os.NewFile(uintptr(fd), "ptmx")
	defer func() {
		if err != nil {
			master.Close()
		}
	}()
	var fs unix.Statfs_t
	if err := unix.Fstatfs(fd, &fs); err != nil || fs.Type != unix.DEVPTS_SUPER_MAGIC {
		return nil, nil, fmt.Errorf("its ptmx is on no devpts (%#x): %w", fs.Type, err)
	}
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		return nil, nil, fmt.Errorf("unlock terminal: %w", err)
	}
	if err := unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: size.Rows, Col: size.Cols}); err != nil {
		return nil, nil, fmt.Errorf("size terminal: %w", err)
	}
	// The peer of this master, and not a path that the sandbox could choose.
	slave, err = system.GetPtyPeer(master.Fd(), "pts", unix.O_RDWR)
	if err != nil {
		return nil, nil, err
	}
	if err := slave.Chown(int(s.plan.IDs.Base+s.plan.User.UID), int(s.plan.IDs.Base+ttyGroup)); err != nil {
		slave.Close()
		return nil, nil, fmt.Errorf("chown terminal: %w", err)
	}
	return master, slave, nil
}
