package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
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
func leaks(r *report, args []string) {
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
	r.fact("files", len(texts) > 30)
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
		r.found(name, len(where) > 0)
		if len(where) > 0 {
			r.fact(name+" in", strings.Join(where, " "))
		}
	}
}

// environment tells this process's environment and what it can see of others'.
func environment(r *report, _ []string) {
	r.fact("own", strings.Join(os.Environ(), "\n"))
	child := exec.Command("/proc/self/exe", "sleep")
	child.Env = []string{"CHILD=1"}
	out, err := child.StdoutPipe()
	if err != nil {
		fatal(err)
	}
	if err := child.Start(); err != nil {
		fatal(err)
	}
	_, _ = out.Read(make([]byte, 1)) // it runs
	all, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil {
		fatal(err)
	}
	for _, path := range all {
		if path == filepath.Join("/proc", pid(), "environ") {
			continue
		}
		b, err := os.ReadFile(path)
		if path == fmt.Sprintf("/proc/%d/environ", child.Process.Pid) {
			r.fact("child", strings.TrimRight(string(b), "\x00"))
			continue
		}
		r.try("read "+path, err)
		if err == nil {
			r.fact("text of "+path, string(b))
		}
	}
	_ = child.Process.Kill()
}
