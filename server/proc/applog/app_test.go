package applog

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gilliam/hypervisor/isolate/output"
)

// An app is a program's two pipes and the writer that keeps what comes out of
// them, as sandbox-init has it.
type app struct {
	t     testing.TB
	dir   string
	files [2]*os.File
	null  *os.File
	r, w  [2]*os.File
	out   *output.Writer
	limit output.Limits
	ended chan struct{}
}

func newApp(t testing.TB, limit output.Limits) *app {
	t.Helper()
	a := &app{t: t, dir: t.TempDir(), limit: limit, ended: make(chan struct{})}
	a.begin()
	return a
}

// begin makes the pipes and the log, or goes on with one that is there.
func (a *app) begin() {
	a.t.Helper()
	var err error
	for i := range 2 {
		name := filepath.Join(a.dir, fmt.Sprint("log.", i))
		if a.files[i], err = os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600); err != nil {
			a.t.Fatal(err)
		}
		if a.r[i], a.w[i], err = os.Pipe(); err != nil {
			a.t.Fatal(err)
		}
	}
	if a.null, err = os.OpenFile(os.DevNull, os.O_WRONLY, 0); err != nil {
		a.t.Fatal(err)
	}
	a.t.Cleanup(a.close)
	a.out, err = output.NewWriter([2]int{int(a.files[0].Fd()), int(a.files[1].Fd())}, a.limit, int(a.null.Fd()))
	if err != nil {
		a.t.Fatal(err)
	}
}

// close closes the files of the program and of sandbox-init.
func (a *app) close() {
	for _, f := range []*os.File{a.files[0], a.files[1], a.r[0], a.r[1], a.w[0], a.w[1], a.null} {
		f.Close()
	}
}

// write writes to a stream and has it moved to the log.
func (a *app) write(kind output.Kind, text string) {
	a.t.Helper()
	for len(text) > 0 {
		n := min(len(text), 60_000) // a pipe holds 64 KiB
		if _, err := a.w[kind-output.Stdout].WriteString(text[:n]); err != nil {
			a.t.Fatal(err)
		}
		text = text[n:]
		for a.out.Pump(kind, int(a.r[kind-output.Stdout].Fd())) {
		}
	}
}

func (a *app) end() { close(a.ended) }

// await looks until something is so that no event tells of.
func await(t testing.TB, what string, so func() bool) {
	t.Helper()
	for begun := time.Now(); !so(); runtime.Gosched() {
		if time.Since(begun) > patience {
			t.Fatalf("waited in vain until %s", what)
		}
	}
}

func openFiles(t testing.TB) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// watchesHeld is how many inotify watches the kernel holds for this process
// (proc_pid_fdinfo(5)).
func watchesHeld(t testing.TB) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fdinfo")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, e := range entries {
		b, err := os.ReadFile("/proc/self/fdinfo/" + e.Name())
		if err != nil {
			continue // that of the folder itself
		}
		n += strings.Count(string(b), "inotify wd:")
	}
	return n
}

// receiveQueue is how much of a socket can be read.
func receiveQueue(fd int) int {
	n, err := unix.IoctlGetInt(fd, unix.SIOCINQ)
	if err != nil {
		return 0
	}
	return n
}

// show is a line as a word: "1:text", with "+" when it goes on, "-n" for n lost
// bytes.
func show(l Line) string {
	s := map[string]string{"stdout": "1:", "stderr": "2:", "": "?:"}[l.Stream]
	if l.Lost > 0 {
		return s + fmt.Sprint("-", l.Lost)
	}
	s += string(l.Text)
	if l.Partial {
		s += "+"
	}
	return s
}

// read is what Read tells.
func (a *app) read(opt Options) string {
	a.t.Helper()
	var got []string
	err := Read(context.Background(), a.dir, opt, a.ended, func(l Line) error {
		got = append(got, show(l))
		return nil
	})
	if err != nil {
		a.t.Error(err)
	}
	return strings.Join(got, " ")
}

// A follower is a Read on its own.
type follower struct {
	lines  chan string
	cancel context.CancelFunc
	done   sync.WaitGroup
	err    error
}

func (a *app) follow(opt Options) *follower {
	opt.Follow = true
	f := &follower{lines: make(chan string)}
	var ctx context.Context
	ctx, f.cancel = context.WithCancel(a.t.Context())
	f.done.Go(func() {
		defer close(f.lines)
		f.err = Read(ctx, a.dir, opt, a.ended, func(l Line) error {
			select {
			case f.lines <- show(l):
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	})
	return f
}
