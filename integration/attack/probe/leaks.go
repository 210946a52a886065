package main

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/gilliam/hypervisor/isolate/selftest/attacks"
)

// told are files that a process may read and that tell of mounts, paths or
// processes.
var told = []string{
	"mountinfo", "mounts", "mountstats", "cmdline", "comm", "status", "stat", "cgroup", "environ", "maps", "smaps",
	"limits", "sched", "wchan", "io", "numa_maps", "auxv", "stack", "syscall", "personality", "oom_score",
	"net/unix", "net/tcp", "net/tcp6", "net/packet", "net/netlink", "net/route", "net/dev",
}

// leaks looks for strings in all that may be read of PID 1, of this process and
// of the kernel. The arguments are name=STRING; a name alone is looked for too.
func leaks(r *attacks.Report, args []string) {
	var paths []string
	for _, pid := range []string{"1", "self", "thread-self"} {
		for _, name := range told {
			paths = append(paths, filepath.Join("/proc", pid, name))
		}
		for _, link := range []string{"exe", "cwd", "root"} {
			paths = append(paths, filepath.Join("/proc", pid, link))
		}
		fds, _ := filepath.Glob(filepath.Join("/proc", pid, "fd/*"))
		paths = append(paths, fds...)
	}
	paths = append(paths, "/proc/keys", "/proc/key-users", "/proc/locks", "/proc/swaps", "/proc/timer_list", "/proc/sched_debug",
		"/proc/kallsyms", "/proc/sysvipc/shm", "/proc/sysvipc/msg", "/proc/sysvipc/sem", "/proc/net/unix", "/proc/tty/drivers",
		"/sys/kernel/vmcoreinfo", "/etc/hostname", "/etc/hosts", "/etc/mtab")
	texts := map[string]string{}
	for _, path := range paths {
		if to, err := os.Readlink(path); err == nil && !strings.HasPrefix(to, "/") {
			texts[path] = to
			continue
		} else if err == nil && path != "/etc/mtab" {
			texts[path+" link"] = to
			continue
		}
		if b, err := os.ReadFile(path); err == nil {
			texts[path] = string(b)
		}
	}
	r.Fact("files", len(texts) > 30)
	for _, arg := range args {
		name, needle, ok := strings.Cut(arg, "=")
		if !ok {
			needle = name
		}
		var where []string
		for path, text := range texts {
			// The probe's own arguments name what it looks for.
			if strings.HasSuffix(path, "self/cmdline") || !strings.Contains(text, needle) {
				continue
			}
			where = append(where, path)
		}
		r.Found(name, len(where) > 0)
		if len(where) > 0 {
			r.Fact(name+" in", strings.Join(where, " "))
		}
	}
}
