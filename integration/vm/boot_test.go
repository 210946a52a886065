//go:build vm

package vm

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/gilliam/hypervisor/integration/vm/job"
	"github.com/gilliam/hypervisor/integration/vm/machine"
)

// deadline bounds a machine's life; go test's own -timeout must be longer.
const deadline = 40 * time.Minute

// A board is what every machine of these tests is built on: the kernel, the
// guest's PID 1, and the template as a disk that forgets.
type board struct {
	kernel   machine.Kernel
	guest    string
	template machine.Disk
}

// theBoard is made once.
var theBoard struct {
	sync.Once
	board
}

func newBoard(t *testing.T) board {
	t.Helper()
	theBoard.Do(func() { theBoard.board = makeBoard(t) })
	if theBoard.guest == "" {
		t.Fatal("the board was not made: see the first test")
	}
	return theBoard.board
}

func makeBoard(t *testing.T) board {
	t.Helper()
	kernel, err := machine.FetchKernel(t.Context(), cache(), "linux-image-amd64")
	must(t, err)
	template := fromEnv("TEMPLATE", "/var/lib/gilliam/templates/default/current/tree")
	if _, err := os.Stat(filepath.Join(template, "etc/os-release")); err != nil {
		t.Fatalf("%v: run sudo make template", err)
	}
	b := board{kernel: kernel, template: machine.Disk{Image: filepath.Join(work, "template.img"), Forgets: true}}
	must(t, machine.MakeDisk(t.Context(), b.template.Image, template, 64<<20))
	guest := filepath.Join(work, "guest")
	must(t, compile(t, false, "build", "-ldflags=-s -w", "-o", guest, "./integration/vm/guest"))
	b.guest = guest
	return b
}

// A rig is a machine of a test: the board, a scratch disk with programs and, if
// there is one, a disk whose content outlives the machine.
type rig struct {
	board
	dir     string
	scratch machine.Disk
	state   *machine.Disk
}

// newRig stages packages with tests, and programs: folders of the project, whose
// names they have in [job.BinDir].
func newRig(t *testing.T, packages []suite, programs ...string) rig {
	t.Helper()
	r := rig{board: newBoard(t), dir: t.TempDir()}
	staged := filepath.Join(r.dir, "scratch")
	must(t, stage(t, staged, packages, programs))
	r.scratch = machine.Disk{Image: filepath.Join(r.dir, "scratch.img"), Forgets: true}
	must(t, machine.MakeDisk(t.Context(), r.scratch.Image, staged, 1<<30))
	must(t, os.RemoveAll(staged))
	return r
}

// keepState gives the machine an empty disk that outlives it.
func (r *rig) keepState(t *testing.T, size int64) {
	t.Helper()
	r.state = &machine.Disk{Image: filepath.Join(r.dir, "state.img")}
	must(t, machine.MakeDisk(t.Context(), r.state.Image, t.TempDir(), size))
}

// boot turns the machine on, with tasks to do. What it says goes to console, and
// into the test's log.
func (r *rig) boot(t *testing.T, console *job.Transcript, tasks ...job.Task) *machine.Running {
	t.Helper()
	m := machine.Machine{
		Kernel: r.kernel.Image, Initrd: filepath.Join(r.dir, "initramfs"), Append: "rdinit=/init",
		Disks: []machine.Disk{r.template, r.scratch}, CPUs: 2, Memory: 2048,
	}
	if r.state != nil {
		m.Disks = append(m.Disks, *r.state)
	}
	must(t, initramfs(m.Initrd, r.guest, r.kernel, job.Job{State: r.state != nil, Tasks: tasks}))
	ctx, cancel := context.WithTimeoutCause(t.Context(), deadline, context.DeadlineExceeded)
	t.Cleanup(cancel)
	running, err := m.Boot(ctx, tee{console, t})
	must(t, err)
	return running
}

// run runs the machine to its end.
func (r *rig) run(t *testing.T, tasks ...job.Task) *job.Transcript {
	t.Helper()
	console := new(job.Transcript)
	start := time.Now()
	err := r.boot(t, console, tasks...).Wait()
	t.Logf("the machine ran for %v", time.Since(start).Round(100*time.Millisecond))
	if err != nil || !console.Done {
		t.Errorf("the guest did not come to its end: %v %s\n%s", err, console.Fatal, console.Tail(60))
	}
	return console
}

// tee writes the console to the transcript and to the test's log.
type tee struct {
	console *job.Transcript
	t       *testing.T
}

func (w tee) Write(p []byte) (int, error) {
	_, _ = w.t.Output().Write(slices.DeleteFunc(slices.Clone(p), func(b byte) bool { return b == '\r' }))
	return w.console.Write(p)
}
