package main

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// descriptors looks for a door that whoever started the program left open.
func descriptors(r *report, _ []string) {
	var inherited []string
	for fd := range 1024 {
		// The Go runtime's own descriptors are made with close-on-exec; what came
		// through an execve has it not.
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil && flags&unix.FD_CLOEXEC == 0 {
			inherited = append(inherited, fmt.Sprint(fd))
		}
	}
	r.fact("inherited", strings.Join(inherited, " "))
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
	r.found("a folder behind a descriptor", doors > 0)
	r.found("a file of the host behind a descriptor", places > 0)
	cwd, err := os.Getwd()
	r.found("a working directory outside", err != nil || !strings.HasPrefix(cwd, "/"))
	r.fact("cwd", cwd)
	for fd := range 3 {
		// Descriptors of files of the host's file systems could be reopened.
		r.try(fmt.Sprintf("write stdin as %d", fd), open(fmt.Sprintf("/proc/self/fd/%d/x", fd), unix.O_WRONLY|unix.O_CREAT))
	}
}
