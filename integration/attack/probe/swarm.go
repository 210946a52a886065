package main

import (
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// forkbomb makes processes until it may not, or has made as many as its argument
// says, and keeps them.
func forkbomb(r *report, args []string) {
	most, err := strconv.Atoi(args[0])
	if err != nil {
		fatal(err)
	}
	made := 0
	for made < most {
		if _, errno := idler(); errno != 0 {
			r.try("as many processes as it likes", errno)
			break
		}
		made++
	}
	if made == most {
		r.try("as many processes as it likes", nil)
	}
	r.fact("made", made)
	r.print()
	rest()
}

// chain starts processes that fork faster than anyone can look.
func chain(r *report, args []string) {
	n, err := strconv.Atoi(args[0])
	if err != nil {
		fatal(err)
	}
	running := 0
	for range n {
		if _, errno := runner(); errno == 0 { // else those that run have taken the last one
			running++
		}
	}
	r.fact("running", running)
	r.print()
	rest()
}

// stubborn does all that keeps a process alive: it ignores what can be ignored,
// says so when it is asked to end, and has stopped, orphaned and running
// descendants in sessions of their own.
func stubborn(r *report, _ []string) {
	asked := make(chan os.Signal, 8)
	signal.Ignore(unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGUSR1, unix.SIGUSR2, unix.SIGPIPE, unix.SIGALRM)
	signal.Notify(asked, unix.SIGTERM)
	stopped, errno := idler()
	if errno != 0 {
		fatal(errno)
	}
	if err := unix.Kill(int(stopped), unix.SIGSTOP); err != nil {
		fatal(err)
	}
	if _, errno := orphan(); errno != 0 {
		fatal(errno)
	}
	if _, errno := runner(); errno != 0 {
		fatal(errno)
	}
	r.print()
	for range asked {
		r.fact("asked to end", "no")
		r.print()
	}
}

// zombies makes orphans that end, and waits until nobody has to collect them any
// more. With an argument it makes itself the one who should.
func zombies(r *report, args []string) {
	if len(args) > 0 {
		if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
			fatal(err)
		}
	}
	const orphans = 300
	for range orphans {
		pid, errno := orphan()
		if errno != 0 {
			fatal(errno)
		}
		if _, err := unix.Wait4(int(pid), nil, 0, nil); err != nil {
			fatal(err)
		}
	}
	left := 0
	for deadline := time.Now().Add(time.Second); time.Now().Before(deadline); {
		if left = dead(); left == 0 {
			break
		}
		_, _ = unix.Poll(nil, 5) // no event tells of another's children
	}
	r.found("zombies", left > 0)
}

// dead counts the zombies in /proc.
func dead() int {
	n := 0
	all, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range all {
		if b, err := os.ReadFile(path); err == nil && strings.Contains(string(b), ") Z ") {
			n++
		}
	}
	return n
}

// openFiles opens as many files as it may.
func openFiles(r *report, args []string) {
	most, err := strconv.Atoi(args[0])
	if err != nil {
		fatal(err)
	}
	var limit unix.Rlimit
	if err := unix.Prlimit(0, unix.RLIMIT_NOFILE, nil, &limit); err != nil {
		fatal(err)
	}
	limit.Cur = limit.Max
	if err := unix.Prlimit(0, unix.RLIMIT_NOFILE, &limit, nil); err != nil {
		fatal(err)
	}
	got, last := 0, error(nil)
	for got < most {
		if _, last = unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0); last != nil {
			break
		}
		got++
	}
	r.try("as many files as it likes", last)
	r.fact("opened", got)
	r.print()
	rest()
}

// hold keeps files of a shared folder locked and watched.
func hold(r *report, args []string) {
	for _, path := range args {
		fd, err := unix.Open(path, unix.O_RDONLY, 0)
		if err != nil {
			fatal(err)
		}
		r.fact("lock "+path, outcome(unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB)))
		_, err = unix.FcntlInt(uintptr(fd), unix.F_SETLEASE, unix.F_RDLCK)
		r.try(fmt.Sprintf("lease %s", path), err)
	}
	r.print()
	rest()
}
