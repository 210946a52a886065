//go:build integration

package integration

import (
	"context"
	"net/http"
	"net/http/httptrace"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/gilliam/hypervisor/integration/testbed"
	"github.com/gilliam/hypervisor/server/proc"
)

// The processes of a sandbox end while no daemon runs, and others have their numbers
// when the next one starts. It lets them alone.
func TestNumbersOfOthers(t *testing.T) {
	d := serve(t, "--stop-on-exit=false")
	p := d.create(proc.Request{Name: "runs", Command: proc.Shell("echo up; exec sleep 1000")})
	d.follow(p.ID).until("stdout: up")
	d.kill()
	innocents := takeNumbers(t, d.endOf(t, p))
	d.start()
	if q := d.wait(p.ID); q.State != proc.Fail || q.ExitCode == nil || *q.ExitCode != 137 {
		t.Errorf("got %+v", q)
	}
	d.remove(p.ID)
	innocents.live(t)
}

// The same with a daemon that does not run for a moment, and when it does finds
// requests for a proc of which it has not heard yet that it has ended. It is not the
// sandboxes' parent, as after a restart: the kernel may give their numbers to others
// at once.
func TestNumbersOfOthersWhileItRuns(t *testing.T) {
	for _, c := range []struct{ name, method, path string }{
		{"stop", http.MethodPost, "/stop?grace=1s"},
		{"remove", http.MethodDelete, ""},
		{"verify", http.MethodGet, "/verify"},
		{"usage", http.MethodGet, "/usage"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := serve(t, "--stop-on-exit=false")
			p := d.create(proc.Request{
				Name: c.name, Command: proc.Shell("echo up; exec sleep 1000"), Mounts: []proc.Mount{{Type: "volume", Source: "v", Target: "/v", Size: 4 << 20}},
				Supervision: proc.Supervision{Health: &proc.Health{Exec: []string{"true"}, Interval: 0.02}},
			})
			d.follow(p.ID).until("stdout: up")
			d.kill()
			d.start()
			d.until(p.ID, "healthy", func(p proc.Proc) bool { return p.Status == proc.HealthHealthy })
			must(t, syscall.Kill(d.pid(), syscall.SIGSTOP))
			innocents := takeNumbers(t, d.endOf(t, p))
			answered := d.ask(t, c.method, "/v1/procs/"+p.ID+c.path)
			must(t, syscall.Kill(d.pid(), syscall.SIGCONT))
			<-answered
			if c.method != http.MethodDelete {
				if q := d.wait(p.ID); q.State != proc.Fail || q.ExitCode == nil || *q.ExitCode != 137 {
					t.Errorf("got %+v", q)
				}
				d.remove(p.ID)
			}
			innocents.live(t)
		})
	}
}

// ask sends a request and returns when it has left, to a daemon that cannot answer yet.
func (d *daemon) ask(t *testing.T, method, path string) <-chan struct{} {
	t.Helper()
	d.http.CloseIdleConnections() // one that has been used before may be given up for another
	sent, answered := make(chan struct{}), make(chan struct{})
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{WroteRequest: func(httptrace.WroteRequestInfo) { close(sent) }})
	// Ends with the answer, which the test waits for.
	go func() {
		defer close(answered)
		ctx, cancel := context.WithTimeout(ctx, time.Minute)
		defer cancel()
		if res, err := d.send(ctx, method, path, nil); err != nil {
			t.Errorf("%s %s: %v", method, path, err)
		} else {
			res.Body.Close()
		}
	}()
	select {
	case <-sent:
	case <-answered:
	}
	return answered
}

// endOf kills all processes of a proc's sandbox and returns the numbers that they had.
func (d *daemon) endOf(t *testing.T, p proc.Proc) (had []int) {
	t.Helper()
	for _, dir := range cgroups(t, p.ID) {
		text, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
		must(t, err)
		for _, field := range strings.Fields(string(text)) {
			pid, err := strconv.Atoi(field)
			must(t, err)
			had = append(had, pid)
		}
		if len(had) > 1 {
			break
		}
	}
	if len(had) < 2 {
		t.Fatalf("no processes of the proc: %v", had)
	}
	for _, pid := range had {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && err != syscall.ESRCH { // with the first of them the others end
			t.Fatal(err)
		}
	}
	for _, pid := range had {
		gone(t, pid)
	}
	return had
}

// innocents are processes that have nothing to do with the daemon.
type innocents []int

// takeNumbers makes processes with these numbers, that do nothing until they are
// signalled.
func takeNumbers(t *testing.T, numbers []int) (all innocents) {
	t.Helper()
	for _, number := range numbers {
		var errno unix.Errno
		taken := testbed.Eventually(patience, func() bool { // the kernel keeps a number until the last who knows it has gone
			errno = idle(number)
			return errno != unix.EEXIST
		})
		if !taken || errno != 0 {
			t.Fatalf("no process with the number %d: clone3: %v", number, errno)
		}
		all = append(all, number)
		t.Cleanup(func() {
			if ended, err := unix.Wait4(number, nil, unix.WNOHANG, nil); ended == 0 && err == nil { // it is ours still
				_ = unix.Kill(number, unix.SIGKILL)
				_, _ = unix.Wait4(number, nil, 0, nil)
			}
		})
	}
	return all
}

// live fails the test when one of them was signalled.
func (all innocents) live(t *testing.T) {
	t.Helper()
	for _, pid := range all {
		untouched(t, pid)
	}
}

// untouched ends a child of ours by a signal that the kernel delivers after all others
// (signal(7)), and fails the test when it has ended by another one.
func untouched(t *testing.T, pid int) {
	t.Helper()
	const last = unix.Signal(64)
	if err := unix.Kill(pid, last); err != nil {
		t.Errorf("process %d: %v", pid, err)
		return
	}
	var status unix.WaitStatus
	if _, err := unix.Wait4(pid, &status, 0, nil); err != nil || status.Signal() != last {
		t.Errorf("the process that has the number %d now has ended by %v: %v", pid, status.Signal(), err)
	}
}

// cloneArgs is struct clone_args (clone3(2)); the set of numbers came with Linux 5.5.
type cloneArgs struct {
	flags, pidfd, childTID, parentTID, exitSignal, stack, stackSize, tls, setTID, setTIDSize, cgroup uint64
}

// idle makes a process with a number of its own choice. It is a copy of this one without
// its threads, in which no Go code works: it may do nothing but raw system calls.
//
//go:norace
//go:nosplit
//go:noinline
func idle(number int) unix.Errno {
	tid := int32(number)
	args := cloneArgs{flags: unix.CLONE_CLEAR_SIGHAND, exitSignal: uint64(unix.SIGCHLD), setTID: uint64(uintptr(unsafe.Pointer(&tid))), setTIDSize: 1}
	pid, _, errno := unix.RawSyscall(unix.SYS_CLONE3, uintptr(unsafe.Pointer(&args)), unsafe.Sizeof(args), 0)
	if errno != 0 || pid != 0 {
		return errno
	}
	unix.RawSyscall(unix.SYS_CLOSE_RANGE, 0, ^uintptr(0)>>32, 0) // or whoever waits for the end of a pipe of ours waits for it
	for {
		unix.RawSyscall6(unix.SYS_PPOLL, 0, 0, 0, 0, 0, 0)
	}
}
