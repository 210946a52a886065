//go:build integration

package integration

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/gilliam/hypervisor/integration/testbed"
	"github.com/gilliam/hypervisor/server/proc"
)

// pressed fails the test unless the daemon has counted errors that came of too
// little of something.
func (d *daemon) pressed(t *testing.T, resource string) {
	t.Helper()
	metrics := d.want(http.StatusOK, http.MethodGet, "/metrics", nil, nil).body
	if number(t, metrics, `(?m)^gilliam_pressure_errors_total{resource="`+resource+`"} (\d+)`) == 0 {
		t.Errorf("the shortage of %s is not counted", resource)
	}
}

// refused fails the test unless a new proc is refused for what the host lacks.
func (d *daemon) refused(t *testing.T, status int, why string) {
	t.Helper()
	a := d.do(http.MethodPost, "/v1/procs", proc.Request{App: "blog", Name: "new", Command: proc.Shell("true")})
	if a.status != status || !strings.Contains(a.body, why) || !strings.Contains(a.header.Get("Content-Type"), "problem+json") {
		t.Errorf("a new proc: got %s, want %d %s", a, status, why)
	}
}

// well fails the test unless a proc runs as ever.
func (d *daemon) well(t *testing.T) {
	t.Helper()
	if p := d.run(proc.Request{Name: "after", Command: proc.Shell("echo well")}); p.State != proc.Done || d.output(p.ID) != "well\n" {
		t.Errorf("afterwards: %+v", p)
	}
}

// A daemon that has connections and not one open file more refuses new procs with
// the reason, and does not take for an app's illness that it cannot look.
func TestNoFileForAProc(t *testing.T) {
	d := serve(t)
	d.errorsExpected = true
	p := d.create(proc.Request{Name: "checked", Command: proc.Shell("exec sleep 1000"), Supervision: proc.Supervision{
		Health: &proc.Health{Exec: []string{"true"}, Interval: 0.05, Retries: 2},
	}})
	d.until(p.ID, "healthy", func(p proc.Proc) bool { return p.Status == proc.HealthHealthy })
	var was unix.Rlimit
	must(t, unix.Prlimit(d.pid(), unix.RLIMIT_NOFILE, nil, &was))
	must(t, unix.Prlimit(d.pid(), unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: lowestFree(t, d.pid()), Max: was.Max}, nil))
	testbed.Within(t, patience, "checks that cannot be made", func() bool { return strings.Count(d.log(), "health not checked") > 4 })
	d.refused(t, http.StatusServiceUnavailable, "too many open files")
	must(t, unix.Prlimit(d.pid(), unix.RLIMIT_NOFILE, &was, nil))
	if p := d.get(p.ID); p.State != proc.Running || p.Status != proc.HealthHealthy || p.Restarts != 0 {
		t.Errorf("got %+v", p)
	}
	d.well(t)
	d.pressed(t, "files")
}

// lowestFree is the number that a process's next descriptor has.
func lowestFree(t *testing.T, pid int) (n uint64) {
	t.Helper()
	for ; ; n++ {
		if _, err := os.Lstat(fmt.Sprintf("/proc/%d/fd/%d", pid, n)); os.IsNotExist(err) {
			return n
		}
	}
}

// With too few processes left for a launch none is tried: the kernel would refuse
// the daemon a thread and so end it. One that has ended for that is started again,
// and has its procs.
func TestNoProcessesLeft(t *testing.T) {
	group := pidsGroup(t)
	limit := func(most string) { must(t, os.WriteFile(filepath.Join(group, "pids.max"), []byte(most), 0)) }
	testbed.Leaves(t)
	d := newDaemon(t, t.TempDir(), portRange(), "--stop-on-exit=false")
	d.errorsExpected = true
	d.before = []string{"sh", "-c", `echo $$ >"$0/cgroup.procs" && exec "$@"`, group}
	d.start()
	p := d.create(proc.Request{Name: "runs", Command: proc.Shell("echo up; exec sleep 1000")})
	d.follow(p.ID).until("stdout: up")
	p = d.get(p.ID)

	now, err := os.ReadFile(filepath.Join(group, "pids.current"))
	must(t, err)
	n, err := strconv.Atoi(strings.TrimSpace(string(now)))
	must(t, err)
	limit(strconv.Itoa(n + 10))
	if q := d.run(proc.Request{Name: "new", Command: proc.Shell("true")}); q.State != proc.Fail || !strings.Contains(q.Reason, "too few processes left") || !strings.Contains(q.Reason, group) {
		t.Errorf("got %+v", q)
	}
	d.pressed(t, "pids")
	limit("max")
	d.well(t)

	limit("1")
	var clients sync.WaitGroup
	for range 16 {
		clients.Go(func() { d.do(http.MethodGet, "/v1/procs/"+p.ID+"/verify", nil) }) // the daemon may end of it
	}
	clients.Wait()
	limit("max")
	if !testbed.Eventually(patience/10, func() bool { return d.do(http.MethodGet, "/readyz", nil).err == nil }) {
		<-d.exited
		d.start()
	}
	if q := d.get(p.ID); q.State != proc.Running || q.PID != p.PID {
		t.Errorf("got %+v, was %+v", q, p)
	}
	d.well(t)
	d.remove(p.ID)
}

// pidsGroup makes a cgroup that limits processes, beside those of all sandboxes.
func pidsGroup(t *testing.T) string {
	t.Helper()
	root := "/sys/fs/cgroup/pids"
	if _, err := os.Stat(root); err != nil {
		root = "/sys/fs/cgroup"
	}
	group, err := os.MkdirTemp(root, "shortage-test-")
	must(t, err)
	t.Cleanup(func() {
		removed := testbed.Eventually(patience, func() bool { return unix.Rmdir(group) == nil })
		if !removed {
			t.Errorf("%s is left", group)
		}
	})
	return group
}

// In a state folder that cannot be written to, new procs are refused with the
// reason; those that run go on and can be stopped, and when it can be written to again
// all is as before. What could not be recorded the next start finds out.
func TestUnwritableStateFolder(t *testing.T) {
	for name, c := range map[string]struct {
		why         string
		begin, over func(t *testing.T, d *daemon, folders ...string)
	}{
		"immutable folders": {"cannot be written to", immutable(true), immutable(false)},
		"a file system that has become read-only": {"read-only file system",
			inMounts(`mount --bind "$0" "$0" && mount -o remount,ro,bind "$0"`), inMounts(`umount "$0"`)},
	} {
		t.Run(name, func(t *testing.T) {
			testbed.Leaves(t)
			d := newDaemon(t, t.TempDir(), portRange(), "--grace", "5s", "--stop-on-exit=false")
			d.before = []string{"unshare", "--mount", "sh", "-c", `exec "$0" "$@"`}
			d.errorsExpected = true
			d.start()
			p := d.create(proc.Request{Name: "obeys", Command: proc.Shell(obeys)})
			d.follow(p.ID).until("stdout: up")
			own := filepath.Join(d.stateDir, "procs", p.ID)
			c.begin(t, d, d.stateDir, filepath.Dir(own), own)
			func() {
				defer c.over(t, d, own, filepath.Dir(own), d.stateDir)
				d.refused(t, http.StatusInsufficientStorage, c.why)
				if q := d.stopProc(p.ID, ""); q.State != proc.Done {
					t.Errorf("stopped: %+v", q)
				}
				if got := d.logs(p.ID, ""); len(got) != 2 || got[1] != "stdout: bye" {
					t.Errorf("its log is %q", got)
				}
				d.pressed(t, "read-only")
			}()
			d.well(t)
			d.kill()
			d.start()
			if q := d.wait(p.ID); q.State != proc.Done || q.ExitCode == nil || *q.ExitCode != 0 {
				t.Errorf("after the next start: %+v", q)
			}
			if len(d.list("")) != 2 {
				t.Errorf("got %+v", d.list(""))
			}
			d.remove(p.ID)
		})
	}
}

// immutable sets or takes the flag that keeps everybody from adding to and removing
// from folders (ioctl_iflags(2)).
func immutable(on bool) func(*testing.T, *daemon, ...string) {
	const flag = 0x10 // FS_IMMUTABLE_FL (linux/fs.h)
	return func(t *testing.T, _ *daemon, folders ...string) {
		t.Helper()
		for _, folder := range folders {
			f, err := os.Open(folder)
			must(t, err)
			defer f.Close()
			flags, err := unix.IoctlGetInt(int(f.Fd()), unix.FS_IOC_GETFLAGS)
			must(t, err)
			flags &^= flag
			if on {
				flags |= flag
			}
			must(t, unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, flags))
		}
	}
}

// inMounts runs a line of shell on the state folder in the daemon's mount namespace.
func inMounts(line string) func(*testing.T, *daemon, ...string) {
	return func(t *testing.T, d *daemon, _ ...string) {
		t.Helper()
		out, err := exec.Command("nsenter", "--mount", "--target", strconv.Itoa(d.pid()), "sh", "-c", line, d.stateDir).CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v %s", line, err, out)
		}
	}
}
