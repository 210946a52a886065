package attacks

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Overwrite is what must come of overwrite: its own victim shows that the way is
// the right one.
var Overwrite = Expectation{Errno: "EACCES", Want: map[string]string{
	"victim, running": "ETXTBSY", "victim, ended": "ok", "others": "true", "pid1": "",
}}

// overwrite is the attack of CVE-2019-5736: it tries to get a descriptor for
// writing of every program that runs, above all of PID 1.
func overwrite(r *Report, _ []string) {
	links, err := filepath.Glob("/proc/[0-9]*/exe")
	if err != nil {
		Fatal(err)
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
			r.Try("readlink /proc/1/exe", err)
			r.Fact("pid1", to)
		} else {
			name = "another"
		}
		r.Try("write "+name, Open(link, unix.O_WRONLY))
		r.Try("truncate "+name, Open(link, unix.O_WRONLY|unix.O_TRUNC))
		r.Try("hold "+name, Open(link, unix.O_PATH))
		r.Try("read "+name, Open(link, unix.O_RDONLY))
	}
	r.Fact("others", seen > 0)
	for _, path := range []string{"/proc/1/task/1/exe", "/proc/1/fd/3", "/proc/1/task/1/fd/3", "/proc/1/fd/7"} {
		r.Try("open "+path, Open(path, unix.O_PATH))
	}
	for _, path := range []string{"/proc/1/map_files", "/proc/1/fd"} {
		r.Try("list "+path, Readable(path, unix.O_RDONLY))
	}
	r.victim()
}

// victim does to a program of this probe's own what must not work on PID 1: it
// keeps the file while it is executed and writes once it is not.
func (r *Report) victim() {
	dir, err := os.MkdirTemp("", "victim")
	if err != nil {
		Fatal(err)
	}
	path := filepath.Join(dir, "victim")
	if err := duplicate("/proc/self/exe", path); err != nil {
		Fatal(err)
	}
	child := exec.Command(path, "sleep")
	out, err := child.StdoutPipe()
	if err != nil {
		Fatal(err)
	}
	if err := child.Start(); err != nil {
		Fatal(err)
	}
	_, _ = out.Read(make([]byte, 1)) // it runs
	exe := fmt.Sprintf("/proc/%d/exe", child.Process.Pid)
	r.Fact("victim, running", Outcome(Open(exe, unix.O_WRONLY)))
	fd, err := unix.Open(exe, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		Fatal(err)
	}
	_ = child.Process.Kill()
	_ = child.Wait()
	r.Fact("victim, ended", Outcome(Open(fmt.Sprintf("/proc/self/fd/%d", fd), unix.O_WRONLY)))
}
