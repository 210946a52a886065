package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gilliam/hypervisor/integration/vm/job"
)

// grace is what a task has beyond its timeout to print where it hangs.
const grace = 30 * time.Second

// runTask runs a task in a cgroup of its own, as a service of systemd would be,
// and returns its exit code. No process of it is left when it returns.
func runTask(t job.Task) (int, error) {
	cgroup := filepath.Join(cgroupRoot, "task")
	if err := os.Mkdir(cgroup, 0o755); err != nil {
		return 0, err
	}
	// A pipe, as from go test: the console is a terminal.
	r, w, err := os.Pipe()
	if err != nil {
		return 0, err
	}
	defer r.Close()
	pid, err := start(t, cgroup, w)
	w.Close()
	if err != nil {
		return 0, err
	}
	printed := make(chan error, 1)
	// Ends when no process has the pipe open any more; runTask waits for it.
	go func() {
		_, err := io.Copy(os.Stdout, r)
		printed <- err
	}()
	stop := time.AfterFunc(t.Timeout+grace, func() { _ = unix.Kill(pid, unix.SIGKILL) })
	defer stop.Stop()
	code, err := wait(pid)
	if err != nil {
		return 0, err
	}
	// All but this process, which reaps them: PID 1 is not signalled (kill(2)).
	if err := unix.Kill(-1, unix.SIGKILL); err == nil {
		if _, err := wait(-1); err != unix.ECHILD {
			return 0, err
		}
	}
	return code, errors.Join(<-printed, os.Remove(cgroup))
}

// start starts the task in the cgroup. It prints into out.
func start(t job.Task, cgroup string, out *os.File) (int, error) {
	group, err := os.Open(cgroup)
	if err != nil {
		return 0, err
	}
	defer group.Close()
	null, err := os.Open(os.DevNull)
	if err != nil {
		return 0, err
	}
	defer null.Close()
	return syscall.ForkExec(t.Args[0], t.Args, &syscall.ProcAttr{
		Dir: t.Dir,
		Env: []string{
			"PATH=" + job.BinDir + ":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LANG=C.UTF-8",
			"TMPDIR=/tmp", "TEMPLATE=" + job.TemplateDir,
		},
		Files: []uintptr{null.Fd(), out.Fd(), out.Fd()},
		Sys:   &syscall.SysProcAttr{Setsid: true, UseCgroupFD: true, CgroupFD: int(group.Fd())},
	})
}

// wait reaps children until the one with that pid has ended, or until there is
// none when pid is -1.
func wait(pid int) (int, error) {
	for {
		var status unix.WaitStatus
		got, err := unix.Wait4(-1, &status, 0, nil)
		switch {
		case err == unix.EINTR:
		case err != nil:
			return 0, err
		case got == pid && status.Signaled():
			return 128 + int(status.Signal()), nil
		case got == pid:
			return status.ExitStatus(), nil
		}
	}
}

// complaints is an error when the kernel found fault with itself while the tasks
// ran: a warning, an oops, a soft lockup (Documentation/admin-guide/
// tainted-kernels.rst).
func complaints() error {
	text, err := os.ReadFile("/proc/sys/kernel/tainted")
	if err != nil {
		return err
	}
	if taint := strings.TrimSpace(string(text)); taint != "0" {
		log := make([]byte, 256<<10)
		n, _ := unix.Klogctl(unix.SYSLOG_ACTION_READ_ALL, log)
		say("\n" + string(log[:max(n, 0)]))
		return fmt.Errorf("the kernel complained: /proc/sys/kernel/tainted is %s", taint)
	}
	return nil
}
