//go:build integration

package isolate_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gilliam/hypervisor/integration/testbed"
	"github.com/gilliam/hypervisor/isolate"
	logs "github.com/gilliam/hypervisor/isolate/output"
)

// A kept sandbox, and what it takes to take it over.
type kept struct {
	t    *testing.T
	plan isolate.Plan
	keep isolate.Keep
	box  *isolate.Sandbox
}

func launchKept(t *testing.T, line string) *kept {
	t.Helper()
	return keepIn(t, t.TempDir(), line)
}

func keepIn(t *testing.T, dir, line string) *kept {
	t.Helper()
	e := testbed.Engine(t)
	plan, err := isolate.NewPlan(spec(t, sh(line)...), e.Host())
	must(t, err)
	k := &kept{t: t, plan: plan, keep: isolate.Keep{Dir: dir, Segment: 1 << 20}}
	if k.box, err = e.Launch(t.Context(), plan, isolate.IO{Keep: &k.keep}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { must(t, k.box.Destroy()) })
	return k
}

// adopt lets go of the sandbox and takes it over with another engine.
func (k *kept) adopt() {
	k.t.Helper()
	k.box.Leave()
	k.take()
}

func (k *kept) take() {
	k.t.Helper()
	box, err := testbed.Engine(k.t).Adopt(k.t.Context(), k.plan, k.keep)
	if err != nil {
		k.t.Fatal(err)
	}
	k.box = box
}

// log is what is in the log now.
func (k *kept) log() string {
	k.t.Helper()
	var files [2]io.ReaderAt
	for i := range files {
		f, err := os.Open(filepath.Join(k.keep.Dir, fmt.Sprint("log.", i)))
		must(k.t, err)
		defer f.Close()
		files[i] = f
	}
	var text strings.Builder
	r := logs.NewReader(files, logs.Cursor{})
	buf := make([]byte, logs.MaxRecord)
	for {
		e, err := r.Next(buf)
		if err == io.EOF {
			return text.String()
		}
		must(k.t, err)
		text.Write(e.Data)
	}
}

func (k *kept) logged(want string) {
	k.t.Helper()
	testbed.Within(k.t, 20*time.Second, fmt.Sprintf("%q in the log", want), func() bool { return strings.Contains(k.log(), want) })
}

// verified fails the test when the kernel enforces something else than the plan.
func (k *kept) verified() {
	k.t.Helper()
	if diff, err := k.box.Verify(); err != nil || len(diff) > 0 {
		k.t.Errorf("verify: %v %v", diff, err)
	}
}

func TestKeptSandboxIsWhatOthersAre(t *testing.T) {
	k := launchKept(t, "echo out; echo err >&2; read line; ls -l /proc/self/fd; exit 3")
	if exit := k.box.Wait(); exit.Code != 3 || exit.Err != nil || exit.LogErr != nil || exit.At.IsZero() {
		t.Errorf("got %+v", exit)
	}
	// Between two pipes there is no order.
	if got := k.log(); !strings.HasPrefix(strings.Replace(got, "err\n", "", 1), "out\n") || !strings.Contains(got, "err\n") || strings.Contains(got, " 4 ->") {
		t.Errorf("got %q", got)
	}
}

// The sandbox goes on without its hypervisor, again and again, and whoever takes
// it over can do with it what the first one could.
func TestAdopt(t *testing.T) {
	k := launchKept(t, `trap 'echo term; exit 7' TERM; n=0; while :; do echo $((n++)); read -t 0.01 <> <(:); done`)
	pid := k.box.PID()
	for range 5 {
		k.adopt()
		if k.box.PID() != pid {
			t.Fatalf("took over process %d, not %d", k.box.PID(), pid)
		}
		k.verified()
	}
	if got, exit := command(t, &running{Sandbox: k.box}, "hi", "cat; id -u; exit 4"); got != "hi1000\n" || exit.Code != 4 {
		t.Errorf("a further command: %q %+v", got, exit)
	}
	if u, err := k.box.Usage(); err != nil || u.Pids == 0 {
		t.Errorf("usage: %+v %v", u, err)
	}
	must(t, k.box.Signal(syscall.SIGTERM))
	if exit := k.box.Wait(); exit.Code != 7 || exit.Err != nil {
		t.Errorf("got %+v", exit)
	}
	n := 0
	for line := range strings.Lines(k.log()) {
		if line != "term\n" && line != fmt.Sprintln(n) {
			t.Fatalf("line %d is %q", n, line)
		}
		n++
	}
	if n < 2 {
		t.Errorf("%d lines", n)
	}
}

// A sandbox of an older hypervisor may have its cgroup in hierarchies of cgroup v1
// that sandboxes are left out of now: it goes from there, too.
func TestAdoptedCgroupIsRemovedEverywhere(t *testing.T) {
	const freezer = "/sys/fs/cgroup/freezer"
	if _, err := os.Stat(freezer); os.IsNotExist(err) {
		return // there is cgroup v2 alone, and nothing to be left in
	}
	k := launchKept(t, "echo up; sleep 1000")
	k.logged("up")
	parent := freezer + isolate.CgroupParent
	must(t, os.MkdirAll(filepath.Join(parent, k.box.ID()), 0o755))
	t.Cleanup(func() { _ = os.Remove(parent) })
	must(t, os.WriteFile(filepath.Join(parent, k.box.ID(), "cgroup.procs"), fmt.Append(nil, k.box.PID()), 0))
	k.adopt()
	must(t, k.box.Destroy())
	if _, err := os.Stat(filepath.Join(parent, k.box.ID())); !os.IsNotExist(err) {
		t.Errorf("it is left in the freezer: %v", err)
	}
}

// What ends while nobody is there is reported with its status and time.
func TestAdoptEnded(t *testing.T) {
	for name, c := range map[string]struct {
		line   string
		code   int
		signal int
	}{
		"exit":   {"echo up; read -t 0.1 <> <(:); echo bye; exit 9", 9, 0},
		"signal": {"echo up; read -t 0.1 <> <(:); echo bye; kill -SEGV $$", 139, 11},
	} {
		t.Run(name, func(t *testing.T) {
			k := launchKept(t, c.line)
			pid := k.box.PID()
			k.box.Leave()
			testbed.Within(t, 20*time.Second, "the end", func() bool { return syscall.Kill(pid, 0) != nil })
			end := time.Now()
			k.take()
			exit := k.box.Wait()
			if exit.Code != c.code || exit.Signal != c.signal || exit.Err != nil || exit.At.After(end) || time.Since(exit.At) > time.Minute {
				t.Errorf("got %+v", exit)
			}
			if got := k.log(); got != "up\nbye\n" {
				t.Errorf("got %q", got)
			}
			k.adopt() // and is so for the next one too
			if again := k.box.Wait(); again.Code != exit.Code || !again.At.Equal(exit.At) {
				t.Errorf("got %+v, before %+v", again, exit)
			}
		})
	}
}

// A sandbox whose memory is used up ends when no hypervisor is there, too, and the
// next one knows why. On cgroup v1 it is told of it, so that some of its processes may
// go on for a moment.
func TestAdoptOutOfMemory(t *testing.T) {
	e := testbed.Engine(t)
	s := spec(t, sh("trap 'head -c 200m /dev/zero | tail -c 200m | wc -c; sleep 1000' USR1; echo up; while :; do sleep 1000 & wait; done")...)
	s.Limits.Memory = 32 << 20
	plan, err := isolate.NewPlan(s, e.Host())
	must(t, err)
	k := &kept{t: t, plan: plan, keep: isolate.Keep{Dir: t.TempDir(), Segment: 1 << 20}}
	k.box, err = e.Launch(t.Context(), plan, isolate.IO{Keep: &k.keep})
	must(t, err)
	t.Cleanup(func() { must(t, k.box.Destroy()) })
	k.logged("up\n")
	pid := k.box.PID()
	must(t, k.box.Signal(syscall.SIGUSR1))
	k.box.Leave()
	gone := testbed.Eventually(3*time.Minute, func() bool { return syscall.Kill(pid, 0) == syscall.ESRCH })
	k.take()
	if !gone {
		t.Fatalf("it goes on: %q", k.log())
	}
	if exit := k.box.Wait(); !exit.OOMKilled || exit.Code != 137 {
		t.Errorf("got %+v", exit)
	}
}

// Killed with its sandbox-init while nobody is there, it has ended by SIGKILL.
func TestAdoptKilled(t *testing.T) {
	k := launchKept(t, "echo up; sleep 1000")
	k.logged("up")
	k.box.Leave()
	must(t, syscall.Kill(k.box.PID(), syscall.SIGKILL))
	testbed.Within(t, 20*time.Second, "the end", func() bool { return syscall.Kill(k.box.PID(), 0) != nil })
	k.take()
	if exit := k.box.Wait(); exit.Code != 137 || exit.Signal != 9 || exit.Err == nil {
		t.Errorf("got %+v", exit)
	}
}

// What is in the pipe when everything is killed at once is not lost: the
// hypervisor moves it to the log.
func TestKilledSandboxKeepsItsOutput(t *testing.T) {
	k := launchKept(t, "echo $$; sleep 1000; echo never")
	k.logged("\n")
	// Stopped, sandbox-init takes nothing out of the pipes any more.
	must(t, syscall.Kill(k.box.PID(), syscall.SIGSTOP))
	app := childOf(t, k.box.PID())
	f, err := os.OpenFile(fmt.Sprintf("/proc/%d/fd/1", app), os.O_WRONLY, 0)
	must(t, err)
	_, err = f.WriteString("last words\n")
	must(t, err)
	must(t, f.Close())
	k.box.Kill()
	k.box.Wait()
	if got := k.log(); !strings.HasSuffix(got, "last words\n") {
		t.Errorf("got %q", got)
	}
}

func childOf(t *testing.T, pid int) int {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	must(t, err)
	var child int
	_, err = fmt.Sscan(string(b), &child)
	must(t, err)
	return child
}

// A sandbox that was never started can be launched anew, and the next one's log
// goes on after that of the one before.
func TestAdoptNeverStarted(t *testing.T) {
	k := launchKept(t, "echo first")
	k.box.Wait()
	must(t, k.box.Destroy())
	must(t, os.Truncate(filepath.Join(k.keep.Dir, "outcome"), 0))
	if _, err := testbed.Engine(t).Adopt(t.Context(), k.plan, k.keep); !errors.Is(err, isolate.ErrNeverStarted) {
		t.Errorf("got %v, want %v", err, isolate.ErrNeverStarted)
	}
	again := keepIn(t, k.keep.Dir, "echo second")
	again.box.Wait()
	if got := again.log(); got != "first\nsecond\n" {
		t.Errorf("got %q", got)
	}
}

// A program that cannot be executed leaves nothing to adopt.
func TestKeptProgramNotFound(t *testing.T) {
	e := testbed.Engine(t)
	plan, err := isolate.NewPlan(spec(t, "/no/such"), e.Host())
	must(t, err)
	keep := isolate.Keep{Dir: t.TempDir()}
	var noExec *isolate.ExecError
	if _, err := e.Launch(t.Context(), plan, isolate.IO{Keep: &keep}); !errors.As(err, &noExec) {
		t.Errorf("got %v", err)
	}
	if _, err := e.Adopt(t.Context(), plan, keep); !errors.Is(err, isolate.ErrNeverStarted) {
		t.Errorf("got %v", err)
	}
}

// What the program leaves running is killed when it ends, and what that wrote
// until then is in the log.
func TestKeptProgramLeavesOthers(t *testing.T) {
	k := launchKept(t, `(trap '' TERM HUP; while echo x; do :; done) & read -t 0.2 <> <(:); exit 0`)
	if exit := k.box.Wait(); exit.Code != 0 || exit.Err != nil {
		t.Errorf("got %+v", exit)
	}
	if got := k.log(); !strings.HasSuffix(got, "x\n") {
		t.Errorf("got %d bytes", len(got))
	}
}
