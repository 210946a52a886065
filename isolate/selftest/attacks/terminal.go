package attacks

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Terminal is what must come of terminal.
var Terminal = Expectation{Errno: "EPERM", Want: map[string]string{
	"pty": "ok", "open /dev/tty": "ENXIO", "open /dev/console": "ENOENT",
	"console output": "EPERM|ENOTTY", "steal a terminal": "EPERM|ENOTTY",
}}

// terminal pushes characters into the input of every terminal that it can find
// or make.
func terminal(r *Report, _ []string) {
	r.Try("open /dev/tty", Open("/dev/tty", unix.O_RDWR))
	r.Try("open /dev/console", Open("/dev/console", unix.O_RDWR))
	master, slave, err := pty()
	r.Fact("pty", Outcome(err))
	for fd, name := range map[int]string{0: "stdin", 1: "stdout", 2: "stderr", slave: "slave", master: "master"} {
		if fd < 0 {
			continue
		}
		for request, what := range map[uintptr]string{
			unix.TIOCSTI: "TIOCSTI", 1<<32 | unix.TIOCSTI: "TIOCSTI high bits", unix.TIOCLINUX: "TIOCLINUX",
			1<<63 | unix.TIOCLINUX: "TIOCLINUX high bits",
		} {
			char := [8]byte{'x'}
			r.Try(what+" on "+name, Call(unix.SYS_IOCTL, uintptr(fd), request, Pointer(&char[0])))
		}
	}
	r.Try("console output", Call(unix.SYS_IOCTL, uintptr(max(slave, 0)), unix.TIOCCONS))
	r.Try("steal a terminal", Call(unix.SYS_IOCTL, 0, unix.TIOCSCTTY, 1))
}

// pty makes a pseudo terminal, the controlling one of a new session.
func pty() (master, slave int, err error) {
	if master, err = unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0); err != nil {
		return -1, -1, err
	}
	if err := unix.IoctlSetPointerInt(master, unix.TIOCSPTLCK, 0); err != nil {
		return master, -1, err
	}
	n, err := unix.IoctlGetInt(master, unix.TIOCGPTN)
	if err != nil {
		return master, -1, err
	}
	if slave, err = unix.Open(fmt.Sprintf("/dev/pts/%d", n), unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0); err != nil {
		return master, -1, err
	}
	if os.Getpid() != 1 {
		_, _ = unix.Setsid() // the app leads a session already
	}
	return master, slave, unix.IoctlSetInt(slave, unix.TIOCSCTTY, 0)
}
