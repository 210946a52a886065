//go:build integration

package oracle

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/gilliam/hypervisor/integration/testbed"
	"github.com/gilliam/hypervisor/isolate"
)

// idlers is how many idle sandboxes share what is measured of their memory.
const idlers = 50

// BenchmarkLaunch runs /bin/true from nothing to nothing left, again and again,
// in our sandbox and by everything that we compare ourselves with, and prints one
// table: medians, and how long ours takes of what they take. All are run in this
// one process, in turns and each round in another order, so that a busy machine,
// or what one leaves to the kernel to do later, slows all alike.
//
// Ours, the floor and libcontainer make the same sandbox of one plan: a fresh
// layer, the overlay, all mounts and masks, every namespace. Ours and libcontainer
// add cgroup, capabilities, limits and filter. A kept one of ours also logs its
// output and listens for its next hypervisor; one with a limit of disk as well has its
// layer in a file system of its own. That is how the hypervisor has them.
// runc and crun run what `runc spec` makes, bwrap and lxc-execute what is in
// peers_test.go: less than ours.
func BenchmarkLaunch(b *testing.B) {
	we, they, tools := newOurs(b), newTheirs(b), newPeers(b)
	floor := &floor{root: they.root, users: they.users}
	null, err := os.OpenFile(b.TempDir()+"/out", os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		b.Fatal(err)
	}
	defer null.Close()
	template := testbed.Template(b)
	spec := isolate.Spec{Args: []string{"/bin/true"}, Template: template.Path, User: template.User}
	host := we.engine.Host()
	by := func(run start) func() error {
		return func() error { return once(run, planOf(b, host, spec), null) }
	}
	kept := we.startKept(b.TempDir())
	runners := []*runner{
		{name: "ours", run: by(we.start)},
		{name: "  kept", run: by(kept)},
		{name: "  and disk limited", run: func() error { return limited(host, spec, kept, null) }},
		{name: "floor", atMost: 2.0, run: func() error { return floor.run(planOf(b, host, spec)) }},
		{name: "crun run", atMost: 0.7, run: tools.crun},
		{name: "runc run", atMost: 0.25, run: tools.runc},
		{name: "libcontainer", atMost: 0.3, run: by(they.start)},
		{name: "  without filter", run: by(they.startUnfiltered)},
		{name: "bwrap", run: tools.bwrap},
		{name: "lxc-execute", run: tools.lxc},
		{name: "no sandbox", run: func() error { return exec.Command("/bin/true").Run() }},
	}
	for _, r := range runners { // caches are warm for all
		r.once(b)
	}
	for _, r := range runners {
		r.took = nil
	}
	for b.Loop() {
		for _, i := range rand.Perm(len(runners)) {
			runners[i].once(b)
		}
	}
	memory := idleMemory(b, we)
	fmt.Print("\n\n", table(runners, memory), "\n") // b.Log cuts after ten lines
	b.ReportMetric(float64(runners[0].median().Microseconds())/1000, "ours-ms")
}

// A runner is one way to run the program.
type runner struct {
	name   string
	atMost float64 // what ours is to take of it, a ratio; 0: anything
	run    func() error
	took   []time.Duration
}

func (r *runner) once(b *testing.B) {
	begin := time.Now()
	if err := r.run(); err != nil {
		b.Fatalf("%s: %v", r.name, err)
	}
	r.took = append(r.took, time.Since(begin))
}

// limited is once of a program that may write as much as one that names no limit.
func limited(host isolate.Host, s isolate.Spec, run start, out *os.File) (err error) {
	s.ID, s.IDs, s.Limits.Disk = uuid.NewString(), ids, isolate.DefaultDisk
	if s.Layer, err = layers.CreateImage(s.ID, s.Limits); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, layers.Remove(s.ID)) }()
	p, err := isolate.NewPlan(s, host)
	if err != nil {
		return err
	}
	return runThrough(run, p, out)
}

// once makes the plan's layer, runs its program to the end and removes it all.
func once(run start, p isolate.Plan, out *os.File) (err error) {
	if _, err := layers.Create(p.ID, p.IDs, nil); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, layers.Remove(p.ID)) }()
	return runThrough(run, p, out)
}

func runThrough(run start, p isolate.Plan, out *os.File) error {
	prog, err := run(p, out)
	if err != nil {
		return err
	}
	return errors.Join(prog.wait(), prog.stop())
}
