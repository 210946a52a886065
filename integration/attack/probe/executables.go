package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// overwrite is the attack of CVE-2019-5736: it tries to get a descriptor for
// writing of every program that runs, above all of PID 1.
func overwrite(r *report, _ []string) {
	links, err := filepath.Glob("/proc/[0-9]*/exe")
	if err != nil {
		fatal(err)
	}
	seen := 0
	for _, link := range links {
		if link == fmt.Sprintf("/proc/%d/exe", os.Getpid()) {
			continue
		}
		seen++
		name := strings.TrimSuffix(link, "/exe")
		if name == "/proc/1" {
			to, err := os.Readlink(link)
			r.try("readlink /proc/1/exe", err)
			r.fact("pid1", to)
		} else {
			name = "another"
		}
		r.try("write "+name, open(link, unix.O_WRONLY))
		r.try("truncate "+name, open(link, unix.O_WRONLY|unix.O_TRUNC))
		r.try("hold "+name, open(link, unix.O_PATH))
		r.try("read "+name, open(link, unix.O_RDONLY))
	}
	r.fact("others", seen > 0)
	for _, path := range []string{"/proc/1/task/1/exe", "/proc/1/fd/3", "/proc/1/task/1/fd/3", "/proc/1/fd/7"} {
		r.try("open "+path, open(path, unix.O_PATH))
	}
	for _, path := range []string{"/proc/1/map_files", "/proc/1/fd"} {
		r.try("list "+path, readable(path, unix.O_RDONLY))
	}
	r.victim()
}

// victim does to a program of this probe's own what must not work on PID 1: it
// keeps the file while it is executed and writes once it is not.
func (r *report) victim() {
	dir, err := os.MkdirTemp("", "victim")
	if err != nil {
		fatal(err)
	}
	path := filepath.Join(dir, "victim")
	if err := duplicate("/proc/self/exe", path); err != nil {
		fatal(err)
	}
	child := exec.Command(path, "sleep")
	out, err := child.StdoutPipe()
	if err != nil {
		fatal(err)
	}
	if err := child.Start(); err != nil {
		fatal(err)
	}
	_, _ = out.Read(make([]byte, 1)) // it runs
	exe := fmt.Sprintf("/proc/%d/exe", child.Process.Pid)
	r.fact("victim, running", outcome(open(exe, unix.O_WRONLY)))
	fd, err := unix.Open(exe, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		fatal(err)
	}
	_ = child.Process.Kill()
	_ = child.Wait()
	r.fact("victim, ended", outcome(open(fmt.Sprintf("/proc/self/fd/%d", fd), unix.O_WRONLY)))
}

// executables executes files and says what came of each.
func executables(r *report, args []string) {
	for _, path := range args {
		cmd := exec.Command(path)
		out, err := cmd.CombinedOutput()
		switch {
		case cmd.ProcessState != nil:
			r.fact(path, fmt.Sprintf("%v: %s", cmd.ProcessState, strings.TrimSpace(string(out))))
		default:
			r.fact(path, outcome(err))
		}
	}
}
