package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gilliam/hypervisor/isolate/selftest/attacks"
)

// chain starts processes that fork faster than anyone can look.
func chain(r *attacks.Report, args []string) {
	n, err := strconv.Atoi(args[0])
	if err != nil {
		attacks.Fatal(err)
	}
	running := 0
	for range n {
		if _, errno := attacks.Runner(); errno == 0 { // else those that run have taken the last one
			running++
		}
	}
	r.Fact("running", running)
	r.Print()
	attacks.Rest()
}

// zombies makes orphans that end, and waits until nobody has to collect them any
// more. With an argument it makes itself the one who should.
func zombies(r *attacks.Report, args []string) {
	if len(args) > 0 {
		if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
			attacks.Fatal(err)
		}
	}
	const orphans = 300
	for range orphans {
		pid, errno := attacks.Orphan()
		if errno != 0 {
			attacks.Fatal(errno)
		}
		if _, err := unix.Wait4(int(pid), nil, 0, nil); err != nil {
			attacks.Fatal(err)
		}
	}
	left := 0
	for deadline := time.Now().Add(time.Second); time.Now().Before(deadline); {
		if left = dead(); left == 0 {
			break
		}
		_, _ = unix.Poll(nil, 5) // no event tells of another's children
	}
	r.Found("zombies", left > 0)
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
func openFiles(r *attacks.Report, args []string) {
	most, err := strconv.Atoi(args[0])
	if err != nil {
		attacks.Fatal(err)
	}
	var limit unix.Rlimit
	if err := unix.Prlimit(0, unix.RLIMIT_NOFILE, nil, &limit); err != nil {
		attacks.Fatal(err)
	}
	limit.Cur = limit.Max
	if err := unix.Prlimit(0, unix.RLIMIT_NOFILE, &limit, nil); err != nil {
		attacks.Fatal(err)
	}
	got, last := 0, error(nil)
	for got < most {
		if _, last = unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0); last != nil {
			break
		}
		got++
	}
	r.Try("as many files as it likes", last)
	r.Fact("opened", got)
	r.Print()
	attacks.Rest()
}

// hold keeps files of a shared folder locked and watched.
func hold(r *attacks.Report, args []string) {
	for _, path := range args {
		fd, err := unix.Open(path, unix.O_RDONLY, 0)
		if err != nil {
			attacks.Fatal(err)
		}
		r.Fact("lock "+path, attacks.Outcome(unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB)))
		_, err = unix.FcntlInt(uintptr(fd), unix.F_SETLEASE, unix.F_RDLCK)
		r.Try(fmt.Sprintf("lease %s", path), err)
	}
	r.Print()
	attacks.Rest()
}
