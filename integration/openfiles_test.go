//go:build integration

package integration

import (
	"fmt"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/gilliam/hypervisor/integration/testbed"
	"github.com/gilliam/hypervisor/server/proc"
)

// The daemon takes all the open files that it may have; what it starts does not.
func TestOpenFilesAreTheDaemons(t *testing.T) {
	const hard = 5000
	testbed.Leaves(t)
	d := newDaemon(t, t.TempDir(), portRange())
	d.before = []string{"/bin/sh", "-c", fmt.Sprintf(`ulimit -Sn 700 && ulimit -Hn %d && exec "$@"`, hard), "sh"}
	d.start()
	soft := openFiles(t, d.pid())
	if soft < hard-1 || soft > hard || !strings.Contains(d.log(), fmt.Sprintf(`"open_files":%d`, soft)) { // Go leaves one out
		t.Errorf("the daemon may open %d files and says\n%s", soft, d.log())
	}
	p := d.create(proc.Request{Command: proc.Shell("ulimit -Sn; exec sleep 1000")})
	d.follow(p.ID).until("stdout: 1024") // as the plan says, below the daemon's
	if soft := openFiles(t, d.get(p.ID).PID); soft > 1024 {
		t.Errorf("sandbox-init may open %d files", soft)
	}
}

// openFiles is a process's soft limit (proc_pid_limits(5)).
func openFiles(t *testing.T, pid int) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", pid))
	must(t, err)
	m := regexp.MustCompile(`(?m)^Max open files +(\d+)`).FindStringSubmatch(string(text))
	if m == nil {
		t.Fatalf("no limit of open files in %s", text)
	}
	n, err := strconv.Atoi(string(m[1]))
	must(t, err)
	return n
}

// A daemon that can open no file says so, keeps who comes waiting, and goes on
// when it can again.
func TestNoOpenFilesLeft(t *testing.T) {
	d := serve(t)
	d.errorsExpected = true
	d.http.CloseIdleConnections()
	var was unix.Rlimit
	must(t, unix.Prlimit(d.pid(), unix.RLIMIT_NOFILE, nil, &was))
	must(t, unix.Prlimit(d.pid(), unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 3, Max: was.Max}, nil))
	answered := make(chan answer, 1)
	go func() { answered <- d.do(http.MethodGet, "/readyz", nil) }() // owner: the test, which receives
	testbed.Within(t, patience, "complaint of the daemon", func() bool { return strings.Contains(d.log(), "no connection can be accepted") })
	select {
	case a := <-answered:
		t.Errorf("answered %s: the limit does not hold", a)
	default:
	}
	must(t, unix.Prlimit(d.pid(), unix.RLIMIT_NOFILE, &was, nil))
	if a := soon(t, answered, "the answer"); a.status != http.StatusOK {
		t.Errorf("got %s", a)
	}
	testbed.Within(t, patience, "word that it is well again", func() bool { return strings.Contains(d.log(), "accepted again") })
	if p := d.run(proc.Request{Command: proc.Shell("true")}); p.State != proc.Done {
		t.Errorf("got %+v", p)
	}
}
