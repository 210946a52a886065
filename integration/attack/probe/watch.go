package main

import (
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/gilliam/hypervisor/isolate/selftest/attacks"
)

// watch looks at every process that comes by, until it is asked to end: a
// program that is being started could still hold what its starter does
// (CVE-2016-9962).
func watch(r *attacks.Report, _ []string) {
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, unix.SIGTERM)
	r.Print()
	self, tries := strconv.Itoa(os.Getpid()), []string{"starter's program", "starter's memory", "starter's descriptor", "starter's folder"}
	seen := map[string]bool{}
	for {
		select {
		case <-asked:
			for _, name := range tries {
				r.Found(name, seen[name])
			}
			r.Fact("saw the command", seen["command"])
			return
		default:
		}
		all, _ := filepath.Glob("/proc/[0-9]*")
		for _, path := range all {
			if name := filepath.Base(path); name != self {
				stare(path, seen)
			}
		}
	}
}

// stare notes what one process shows.
func stare(path string, seen map[string]bool) {
	exe, err := os.Readlink(path + "/exe")
	if err == nil && strings.Contains(exe, "sandbox-init") {
		seen["starter's program"] = true
		seen["starter's memory"] = seen["starter's memory"] || attacks.Open(path+"/mem", unix.O_RDWR) == nil
	}
	if err == nil && strings.HasPrefix(exe, "/") {
		seen["command"] = true
	}
	for _, link := range []string{"/cwd", "/root"} {
		if to, err := os.Readlink(path + link); err == nil && to != "/" && to != "/app" {
			seen["starter's folder"] = true
		}
	}
	fds, _ := filepath.Glob(path + "/fd/*")
	for _, fd := range fds {
		to, err := os.Readlink(fd)
		if err == nil && (strings.HasPrefix(to, "socket:") || strings.HasPrefix(to, "/memfd") || strings.Contains(to, "sandbox-init")) {
			seen["starter's descriptor"] = true
		}
	}
}
