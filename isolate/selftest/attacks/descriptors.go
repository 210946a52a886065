package attacks

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// Descriptors is what must come of descriptors.
var Descriptors = Expectation{Want: map[string]string{"inherited": "0 1 2"}}

// descriptors looks for a door that whoever started the program left open.
func descriptors(r *Report, _ []string) {
	var inherited []string
	for fd := range 1024 {
		// The Go runtime's own descriptors are made with close-on-exec; what came
		// through an execve has it not.
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil && flags&unix.FD_CLOEXEC == 0 {
			inherited = append(inherited, fmt.Sprint(fd))
		}
	}
	r.Fact("inherited", strings.Join(inherited, " "))
	doors, places := 0, 0
	for fd := range 1024 {
		at := fmt.Sprintf("/proc/self/fd/%d", fd)
		if _, err := os.Stat(at + "/.."); err == nil {
			doors++
		}
		if _, err := os.Stat("/dev/fd/" + fmt.Sprint(fd) + "/../../etc"); err == nil {
			doors++
		}
		if to, err := os.Readlink(at); err == nil && fd < 3 && strings.HasPrefix(to, "/") && to != "/dev/null" {
			places++
		}
		for _, up := range []string{"..", "../../../../../.."} {
			if file, err := unix.Openat(fd, up, unix.O_PATH|unix.O_CLOEXEC, 0); err == nil {
				doors++
				_ = unix.Close(file)
			}
		}
	}
	r.Found("a folder behind a descriptor", doors > 0)
	r.Found("a file of the host behind a descriptor", places > 0)
	cwd, err := os.Getwd()
	r.Found("a working directory outside", err != nil || !strings.HasPrefix(cwd, "/"))
	r.Fact("cwd", cwd)
	for fd := range 3 {
		// Descriptors of files of the host's file systems could be reopened.
		r.Try(fmt.Sprintf("write stdin as %d", fd), Open(fmt.Sprintf("/proc/self/fd/%d/x", fd), unix.O_WRONLY|unix.O_CREAT))
	}
}
