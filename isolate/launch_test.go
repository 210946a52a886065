//go:build integration

package isolate_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gilliam/hypervisor/integration/testbed"
	"github.com/gilliam/hypervisor/isolate"
	"github.com/gilliam/hypervisor/rootfs"
)

func TestMain(m *testing.M) { testbed.Main(m) }

var ids = isolate.IDRange{Base: 0x7ffe0000, Size: 65536}

// spec is one to change: it runs args with its own layer and nothing else.
func spec(tb testing.TB, args ...string) isolate.Spec {
	tb.Helper()
	return testbed.Spec(tb, ids, args...)
}

func sh(line string) []string { return []string{"/bin/bash", "-c", line} }

// A running sandbox, with what it writes.
type running struct {
	*isolate.Sandbox
	out *os.File
}

func launch(tb testing.TB, e *isolate.Engine, s isolate.Spec) (*running, error) {
	tb.Helper()
	plan, err := isolate.NewPlan(s, e.Host())
	if err != nil {
		tb.Fatal(err)
	}
	return launchPlan(tb, e, plan)
}

func launchPlan(tb testing.TB, e *isolate.Engine, plan isolate.Plan) (*running, error) {
	tb.Helper()
	box, r, err := testbed.Launch(tb, e, plan)
	if err != nil {
		return nil, err
	}
	if diff, err := box.Verify(); len(diff) > 0 || err != nil && !errors.Is(err, isolate.ErrEnded) {
		tb.Errorf("what the kernel enforces is not the plan: %v %v", diff, err)
	}
	run := &running{Sandbox: box, out: r}
	tb.Cleanup(func() {
		if err := box.Destroy(); err != nil {
			tb.Error(err)
		}
		r.Close()
	})
	return run, nil
}

// finish waits for the end and returns all that was written.
func (r *running) finish(tb testing.TB) (string, isolate.Exit) {
	tb.Helper()
	text, err := io.ReadAll(r.out)
	if err != nil {
		tb.Fatal(err)
	}
	return string(text), r.Wait()
}

// line reads what is written up to a newline.
func (r *running) line(tb testing.TB) string {
	tb.Helper()
	var line []byte
	for b := make([]byte, 1); ; {
		if _, err := r.out.Read(b); err != nil {
			tb.Fatalf("after %q: %v", line, err)
		}
		if b[0] == '\n' {
			return string(line)
		}
		line = append(line, b[0])
	}
}

// output runs a shell line to its end and returns what it wrote.
func output(tb testing.TB, line string) string {
	tb.Helper()
	r, err := launch(tb, testbed.Engine(tb), spec(tb, sh(line)...))
	if err != nil {
		tb.Fatal(err)
	}
	text, exit := r.finish(tb)
	if exit.Code != 0 || exit.Err != nil {
		tb.Fatalf("%s: %+v\n%s", line, exit, text)
	}
	return text
}

func TestExit(t *testing.T) {
	e := testbed.Engine(t)
	for _, c := range []struct {
		line string
		want isolate.Exit
	}{
		{"exit 0", isolate.Exit{}},
		{"exit 3", isolate.Exit{Code: 3}},
		{"exit 255", isolate.Exit{Code: 255}},
		{"kill -TERM $$", isolate.Exit{Code: 143, Signal: 15}},
		{"kill -KILL $$", isolate.Exit{Code: 137, Signal: 9}},
		{"kill -SEGV $$", isolate.Exit{Code: 139, Signal: 11}},
		{"setsid sleep 1000 & sleep 1000 & exit 4", isolate.Exit{Code: 4}},
	} {
		r, err := launch(t, e, spec(t, sh(c.line)...))
		if err != nil {
			t.Fatal(err)
		}
		text, exit := r.finish(t)
		if exit.At.IsZero() {
			t.Errorf("%s: no time", c.line)
		}
		exit.At = time.Time{}
		if exit != c.want {
			t.Errorf("%s: got %+v, want %+v\n%s", c.line, exit, c.want, text)
		}
	}
}

func TestSignalReachesTheGroup(t *testing.T) {
	r, err := launch(t, testbed.Engine(t), spec(t, sh(`trap 'echo got; exit 7' TERM; echo up; while :; do sleep 1000 & wait; done`)...))
	if err != nil {
		t.Fatal(err)
	}
	if got := r.line(t); got != "up" {
		t.Fatalf("got %q", got)
	}
	if err := r.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	text, exit := r.finish(t)
	if text != "got\n" || exit.Code != 7 {
		t.Errorf("%q %+v", text, exit)
	}
	if err := r.Signal(syscall.SIGTERM); !errors.Is(err, isolate.ErrEnded) {
		t.Errorf("after the end: %v", err)
	}
}

func TestKillEndsEverything(t *testing.T) {
	testbed.Leaves(t)
	r, err := launch(t, testbed.Engine(t), spec(t, sh(`trap '' TERM INT HUP; (setsid bash -c "trap '' TERM; echo deep; sleep 1000" &); sleep 1000; sleep 1000`)...))
	if err != nil {
		t.Fatal(err)
	}
	r.line(t)
	r.Kill()
	if _, exit := r.finish(t); exit.Signal != int(syscall.SIGKILL) && exit.Err == nil {
		t.Errorf("%+v", exit)
	}
}

// Whoever kills PID 1 ends the sandbox, and the engine sees it.
func TestInitKilled(t *testing.T) {
	r, err := launch(t, testbed.Engine(t), spec(t, sh("echo up; sleep 1000")...))
	if err != nil {
		t.Fatal(err)
	}
	r.line(t)
	if err := syscall.Kill(r.PID(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if _, exit := r.finish(t); exit.Err == nil || exit.Signal != 9 {
		t.Errorf("%+v", exit)
	}
}

func TestUsage(t *testing.T) {
	s := spec(t, sh("head -c 20m /dev/zero >/dev/shm/x; echo up; sleep 1000")...)
	s.Limits = isolate.Limits{Memory: 64 << 20, Pids: 30}
	r, err := launch(t, testbed.Engine(t), s)
	if err != nil {
		t.Fatal(err)
	}
	r.line(t)
	u, err := r.Usage()
	if err != nil {
		t.Fatal(err)
	}
	if u.Memory < 20<<20 || u.MemoryLimit != 64<<20 || u.CPU <= 0 || u.Pids < 2 || u.PidsLimit != 30 {
		t.Errorf("%+v", u)
	}
}

// A cgroup that is somebody else's is not touched, and stands in the way.
func TestCgroupExists(t *testing.T) {
	testbed.Leaves(t)
	e := testbed.Engine(t)
	plan, err := isolate.NewPlan(spec(t, "true"), e.Host())
	if err != nil {
		t.Fatal(err)
	}
	dir := "/sys/fs/cgroup" + plan.Cgroup.Path
	if e.Host().Cgroup != isolate.CgroupV2 {
		dir = "/sys/fs/cgroup/pids" + plan.Cgroup.Path
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := launchPlan(t, e, plan); !errors.Is(err, fs.ErrExist) {
		t.Errorf("got %v", err)
	}
	if err := os.Remove(dir); err != nil {
		t.Error(err)
	}
}

func TestLaunchCancelled(t *testing.T) {
	testbed.Leaves(t)
	e := testbed.Engine(t)
	plan, err := isolate.NewPlan(spec(t, "true"), e.Host())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := e.Launch(ctx, plan, isolate.IO{Stdout: os.Stdout, Stderr: os.Stderr}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestManyAtOnce(t *testing.T) {
	testbed.Leaves(t)
	e := testbed.Engine(t)
	var all sync.WaitGroup
	for n := range 20 {
		s := spec(t, sh(fmt.Sprintf("exit %d", n))...)
		s.IDs.Base -= uint32(n) * s.IDs.Size
		layers, err := rootfs.OpenLayers(filepath.Join(t.TempDir(), "layers"))
		if err != nil {
			t.Fatal(err)
		}
		if s.Layer, err = layers.Create(s.ID, s.IDs, nil); err != nil {
			t.Fatal(err)
		}
		all.Go(func() {
			r, err := launch(t, e, s)
			if err != nil {
				t.Error(err)
				return
			}
			if text, exit := r.finish(t); exit.Code != n {
				t.Errorf("%d: %+v %s", n, exit, text)
			}
		})
	}
	all.Wait()
}
