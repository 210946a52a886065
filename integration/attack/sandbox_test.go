//go:build integration

package attack

import (
	"bufio"
	"encoding/json"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/gilliam/hypervisor/integration/testbed"
	"github.com/gilliam/hypervisor/isolate"
	"github.com/gilliam/hypervisor/isolate/selftest/attacks"
)

// deadline bounds every wait for one answer of a probe. It is for what hangs: an
// emulated machine beside busy neighbours is a hundred times slower than this one.
const deadline = 2 * time.Minute

// A report is what the probe says of one attack.
type report = attacks.Report

// A box is a sandbox in which a probe runs.
type box struct {
	*isolate.Sandbox
	layer isolate.Layer
	pipe  *os.File
	out   *bufio.Reader
}

// ids is a range for each sandbox that runs at once.
func ids(n uint32) isolate.IDRange {
	return isolate.IDRange{Base: 0x7ffe0000 - n<<16, Size: 1 << 16}
}

// spec runs the probe in a sandbox as an app's would be.
func spec(t *testing.T, args ...string) isolate.Spec {
	t.Helper()
	s := testbed.Spec(t, ids(0), append([]string{"/app/probe"}, args...)...)
	s.Binds = []isolate.Bind{{Source: tools, Target: "/app", IDMapped: true}}
	s.Env = []string{"HOME=/app", "PORT=8000"}
	s.Limits = isolate.Limits{Memory: 256 << 20, Pids: 128}
	return s
}

// tenant gives a spec the n-th range of ids.
func tenant(t *testing.T, s isolate.Spec, n uint32) isolate.Spec {
	t.Helper()
	s.IDs = ids(n)
	if err := os.Chown(s.Layer.Upper, int(s.IDs.Base), int(s.IDs.Base)); err != nil {
		t.Fatal(err)
	}
	return s
}

// start launches a spec with its plan changed.
func start(t *testing.T, e *isolate.Engine, s isolate.Spec, change ...func(*isolate.Plan)) *box {
	t.Helper()
	b, err := try(t, e, s, change...)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func try(t *testing.T, e *isolate.Engine, s isolate.Spec, change ...func(*isolate.Plan)) (*box, error) {
	t.Helper()
	plan, err := isolate.NewPlan(s, e.Host())
	if err != nil {
		return nil, err
	}
	for _, f := range change {
		if f != nil {
			f(&plan)
		}
	}
	sandbox, r, err := testbed.Launch(t, e, plan)
	if err != nil {
		return nil, err
	}
	b := &box{Sandbox: sandbox, layer: s.Layer, pipe: r, out: bufio.NewReader(r)}
	t.Cleanup(func() { b.end(t) })
	return b, nil
}

// end destroys the sandbox.
func (b *box) end(t *testing.T) {
	t.Helper()
	if err := b.Destroy(); err != nil {
		t.Error(err)
	}
	b.pipe.Close()
}

// report reads the probe's next line.
func (b *box) report(t *testing.T) report {
	t.Helper()
	if err := b.pipe.SetReadDeadline(time.Now().Add(deadline)); err != nil {
		t.Fatal(err)
	}
	line, err := b.out.ReadBytes('\n')
	if err != nil {
		t.Fatalf("the probe said %q: %v", line, err)
	}
	return decode(t, line)
}

func decode(t *testing.T, line []byte) report {
	t.Helper()
	var r report
	if err := json.Unmarshal(line, &r); err != nil {
		t.Fatalf("the probe said %q: %v", line, err)
	}
	return r
}

// ended waits for the end of the sandbox.
func (b *box) ended(t *testing.T, within time.Duration) isolate.Exit {
	t.Helper()
	select {
	case <-b.Done():
		return b.Wait()
	case <-time.After(within):
		t.Fatalf("still there after %v", within)
		return isolate.Exit{}
	}
}

// alive tells whether the sandbox still runs.
func (b *box) alive() bool {
	select {
	case <-b.Done():
		return false
	default:
		return true
	}
}

// once runs one attack in a sandbox of its own.
func once(t *testing.T, s isolate.Spec, change ...func(*isolate.Plan)) report {
	t.Helper()
	b := start(t, testbed.Engine(t), s, change...)
	r := b.report(t)
	b.end(t)
	return r
}

// without takes steps out of a plan.
func without(drop func(isolate.Step) bool) func(*isolate.Plan) {
	return func(p *isolate.Plan) { p.Steps = slices.DeleteFunc(slices.Clone(p.Steps), drop) }
}
