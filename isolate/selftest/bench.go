package selftest

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/google/uuid"

	"github.com/gilliam/hypervisor/isolate"
	"github.com/gilliam/hypervisor/isolate/selftest/attacks"
)

// patience bounds every wait for a probe or for the end of a sandbox.
const patience = 15 * time.Second

// A bench is where the checks launch their sandboxes. It is used by one check at
// a time.
type bench struct {
	facts
	options Options

	ground  *ground           // nil until open, and when closed
	ids     []isolate.IDRange // one for each sandbox that runs at once
	release func() error      // of ids
	engine  *isolate.Engine
	used    []string // ids of all sandboxes so far

	// What tests do to see the checks fail.
	lack     func(*facts)                                                     // of the machine
	spoil    func(*isolate.Plan)                                              // before a launch
	launched func(*isolate.Sandbox)                                           // after it
	bare     func(ctx context.Context, args []string) (attacks.Report, error) // an attack without a sandbox
}

// open makes what all sandboxes need.
func (b *bench) open() (err error) {
	if b.ground, err = newGround(b.options.Dir); err != nil {
		return err
	}
	if b.ids, b.release, err = b.options.Lease(b.ground.dir, atOnce); err != nil {
		return err
	}
	b.engine, err = isolate.NewEngine(b.Host)
	return err
}

// atOnce is how many sandboxes there are at the same time.
const atOnce = 2

// close removes all that the bench has made. It may be called again.
func (b *bench) close() error {
	var errs []error
	if b.engine != nil {
		errs = append(errs, b.engine.Close())
		b.engine = nil
	}
	if b.release != nil {
		errs = append(errs, b.release())
		b.release = nil
	}
	if b.ground != nil {
		errs = append(errs, b.ground.remove())
		b.ground = nil
	}
	return errors.Join(errs...)
}

// user is whom the probe runs as, in ids of the sandbox.
var user = isolate.User{UID: 1000, GID: 1000}

// spec runs the probe by the defaults, with the n-th range of ids.
func (b *bench) spec(n int, args ...string) isolate.Spec {
	id := "selftest-" + uuid.NewString()
	return isolate.Spec{
		ID: id, Hostname: hostname, Template: b.ground.root, Layer: b.ground.layer(id), Args: append([]string{probePath}, args...),
		Env: environment, Dir: "/", User: user, IDs: b.ids[n],
		Limits: isolate.Limits{Memory: 128 << 20, Pids: 64},
	}
}

const hostname = "selftest"

// environment is all of the probe's.
var environment = []string{"HOME=/", "SELFTEST=1"}

// plan is what the kernel must enforce for a spec.
func (b *bench) plan(s isolate.Spec) (isolate.Plan, error) { return isolate.NewPlan(s, b.Host) }

// A box is a sandbox in which a probe runs.
type box struct {
	*isolate.Sandbox
	b    *bench
	spec isolate.Spec
	pipe *os.File
	out  *bufio.Reader
}

// start launches a spec, with its plan changed. The caller ends the box.
func (b *bench) start(ctx context.Context, s isolate.Spec, change ...func(*isolate.Plan)) (*box, error) {
	plan, err := b.plan(s)
	if err != nil {
		return nil, err
	}
	for _, f := range append(change, b.spoil) {
		if f != nil {
			f(&plan)
		}
	}
	if err := b.ground.makeLayer(s); err != nil {
		return nil, err
	}
	b.used = append(b.used, s.ID)
	r, w, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, b.ground.layers.Remove(s.ID))
	}
	sandbox, err := b.engine.Launch(ctx, plan, isolate.IO{Stdout: w, Stderr: w})
	w.Close()
	if err != nil {
		r.Close()
		return nil, errors.Join(err, b.ground.layers.Remove(s.ID))
	}
	if b.launched != nil {
		b.launched(sandbox)
	}
	return &box{Sandbox: sandbox, b: b, spec: s, pipe: r, out: bufio.NewReader(r)}, nil
}

// end removes the sandbox and its layer.
func (x *box) end() error {
	err := x.Destroy()
	if err == nil {
		err = x.b.ground.layers.Remove(x.ID())
	}
	x.pipe.Close()
	return err
}

// report reads the probe's next line.
func (x *box) report(ctx context.Context) (attacks.Report, error) {
	return readReport(ctx, x.pipe, x.out)
}

// readReport reads one line of a probe's, for as long as ctx and patience last.
func readReport(ctx context.Context, pipe *os.File, out *bufio.Reader) (attacks.Report, error) {
	if err := pipe.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return attacks.Report{}, err
	}
	defer context.AfterFunc(ctx, func() { _ = pipe.SetReadDeadline(time.Now()) })()
	line, err := out.ReadBytes('\n')
	if err != nil {
		return attacks.Report{}, errors.Join(fmt.Errorf("the probe said %q: %w", line, err), ctx.Err())
	}
	return decode(line)
}

func decode(line []byte) (r attacks.Report, err error) {
	if err := json.Unmarshal(line, &r); err != nil {
		return r, fmt.Errorf("the probe said %q: %w", line, err)
	}
	return r, nil
}

// ended waits for the end of the sandbox.
func (x *box) ended(ctx context.Context) (isolate.Exit, error) {
	late := time.NewTimer(patience)
	defer late.Stop()
	select {
	case <-x.Done():
		return x.Wait(), nil
	case <-ctx.Done():
		return isolate.Exit{}, ctx.Err()
	case <-late.C:
		return isolate.Exit{}, fmt.Errorf("it still runs after %v", patience)
	}
}

// attack makes one attack in a sandbox of its own.
func (b *bench) attack(ctx context.Context, args ...string) (attacks.Report, error) {
	return b.attackIn(ctx, b.spec(0, args...))
}

// attackIn makes the attack of a spec.
func (b *bench) attackIn(ctx context.Context, s isolate.Spec, change ...func(*isolate.Plan)) (r attacks.Report, err error) {
	if b.bare != nil {
		return b.bare(ctx, s.Args[1:])
	}
	x, err := b.start(ctx, s, change...)
	if err != nil {
		return r, err
	}
	r, err = x.report(ctx)
	return r, errors.Join(err, x.end())
}

// fate makes the attack of a spec that may end its program, and tells how it did.
// The report is empty when there was none.
func (b *bench) fate(ctx context.Context, s isolate.Spec) (r attacks.Report, exit isolate.Exit, err error) {
	if b.bare != nil {
		r, err = b.bare(ctx, s.Args[1:])
		return r, exit, err
	}
	x, err := b.start(ctx, s)
	if err != nil {
		return r, exit, err
	}
	defer func() { err = errors.Join(err, x.end()) }()
	r, unsaid := x.report(ctx)
	if exit, err = x.ended(ctx); err == nil && exit.Code == 0 {
		err = unsaid
	}
	return r, exit, err
}

// judge is the finding of an attack.
func judge(want attacks.Expectation, r attacks.Report, err error) finding {
	if err != nil {
		return broken(err)
	}
	v := want.Judge(r)
	return finding{wrong: v.Wrong, tries: len(v.Tries)}
}

// onFacts is a check that launches nothing.
func onFacts(look func(f facts) finding) func(context.Context, *bench) finding {
	return func(_ context.Context, b *bench) finding { return look(b.facts) }
}
