package selftest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/gilliam/hypervisor/isolate"
)

// Options say what is to be tested. Dir and Lease are required.
type Options struct {
	// Dir is a folder on the file system that layers and templates are on. The
	// sandboxes' files are in a folder in it, as long as the selftest runs.
	Dir string

	// Lease takes so many ranges of host ids that nobody else uses, until release
	// is called or the folder dir, which is made for this selftest, is gone.
	Lease func(dir string, count int) (ranges []isolate.IDRange, release func() error, err error)

	// Run chooses checks by their names; nil means all. What every sandbox needs is
	// checked all the same, and is in the report when it fails.
	Run *regexp.Regexp

	// Each is called with every result as soon as it is there. Nil means no one.
	Each func(Result)
}

// A State is what came of a check.
type State string

// The states of a check.
const (
	OK      State = "ok"
	Failed  State = "failed"
	Missing State = "missing" // this machine lacks what it is about; Note says what follows
	NotRun  State = "not run" // since something that every sandbox needs has failed
)

// A Result is one check and what came of it.
type Result struct {
	Name    string   `json:"name"`
	Promise string   `json:"promise"`
	State   State    `json:"state"`
	Found   []string `json:"found,omitempty"`  // when it failed: what was found instead
	Remedy  string   `json:"remedy,omitempty"` // when it failed: what to do
	Note    string   `json:"note,omitempty"`   // what more is to be said
	Tries   int      `json:"tries,omitempty"`
	Seconds float64  `json:"seconds"`
}

// A Report is a selftest from its beginning to its end.
type Report struct {
	OK         bool               `json:"ok"` // no check failed
	Kernel     string             `json:"kernel"`
	Arch       string             `json:"arch"`
	Cgroup     isolate.CgroupMode `json:"cgroup"`
	Dir        string             `json:"dir"`
	FileSystem string             `json:"file_system"`
	Results    []Result           `json:"results"`
	Remarks    []isolate.Remark   `json:"remarks"`
	Tries      int                `json:"tries"` // of all checks
	Seconds    float64            `json:"seconds"`
}

// Run makes the checks, one after the other. The error is about what kept it from
// testing at all, or that ctx has ended; what a check has found is in the report.
func Run(ctx context.Context, o Options) (Report, error) {
	return run(ctx, o, &bench{})
}

// run is Run on a bench with the hooks of a test.
func run(ctx context.Context, o Options, b *bench) (report Report, err error) {
	began := time.Now()
	facts, err := probe(o.Dir)
	if err != nil {
		return Report{}, fmt.Errorf("look at this machine: %w", err)
	}
	if b.lack != nil {
		b.lack(&facts)
	}
	b.facts, b.options = facts, o
	defer func() { err = errors.Join(err, b.close()) }()
	report = Report{
		OK: true, Kernel: facts.release, Arch: facts.arch, Cgroup: facts.Cgroup, Dir: o.Dir, FileSystem: facts.fileSystem,
		Results: []Result{}, Remarks: append([]isolate.Remark{}, facts.Remarks()...),
	}
	broken := "" // the first essential check that failed
	for _, c := range checks() {
		chosen := o.Run == nil || o.Run.MatchString(c.name)
		if !chosen && (!c.essential || broken != "") {
			continue
		}
		r := Result{Name: c.name, Promise: c.promise, State: NotRun, Note: "needs " + broken}
		if broken == "" {
			r = c.result(ctx, b)
		}
		if ctx.Err() != nil {
			return report, ctx.Err()
		}
		if c.essential && r.State == Failed {
			broken = c.name
		}
		if !chosen && r.State != Failed {
			continue
		}
		report.OK = report.OK && r.State != Failed
		report.Tries += r.Tries
		report.Results = append(report.Results, r)
		if o.Each != nil {
			o.Each(r)
		}
	}
	report.Seconds = time.Since(began).Seconds()
	return report, nil
}

// A Check is one that Run makes.
type Check struct {
	Name    string `json:"name"`
	Promise string `json:"promise"`
}

// List is all checks, in the order in which they are made.
func List() []Check {
	var list []Check
	for _, c := range checks() {
		list = append(list, Check{c.name, c.promise})
	}
	return list
}

// A check is one row of the table.
type check struct {
	name      string
	promise   string // what holds when it is ok
	remedy    string // what to do when it does not
	essential bool   // without it no sandbox runs

	run func(ctx context.Context, b *bench) finding
}

// A finding is what a check has found. Without anything wrong it is ok.
type finding struct {
	wrong   []string // what is not as promised
	tries   int      // how often the probe tried what must fail
	missing bool     // this machine lacks what it is about
	remedy  string   // what to do, where the check's own is not it
	note    string
}

// and is f with what another finding says.
func (f finding) and(g finding) finding {
	f.wrong, f.tries = append(f.wrong, g.wrong...), f.tries+g.tries
	return f
}

// broken is a check that could not be made.
func broken(err error) finding { return finding{wrong: []string{err.Error()}} }

// unless is a finding of one thing that may be wrong.
func unless(ok bool, format string, args ...any) finding {
	if ok {
		return finding{}
	}
	return finding{wrong: []string{fmt.Sprintf(format, args...)}}
}

func (c check) result(ctx context.Context, b *bench) Result {
	began := time.Now()
	f := c.run(ctx, b)
	r := Result{Name: c.name, Promise: c.promise, State: OK, Found: f.wrong, Note: f.note, Tries: f.tries, Seconds: time.Since(began).Seconds()}
	switch {
	case len(f.wrong) > 0:
		r.State, r.Remedy = Failed, cmp.Or(f.remedy, c.remedy, tell)
	case f.missing:
		r.State = Missing
	}
	return r
}

// tell is what to do when a promise is broken that no setting of the host's
// explains.
const tell = "run no strangers' code here; update the kernel and the hypervisor, and if it stays, report it with the output of hypervisor selftest --json"
