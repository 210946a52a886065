//go:build integration

package oracle

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/gilliam/hypervisor/integration/testbed"
	"github.com/gilliam/hypervisor/isolate"
)

// ids are nobody else's on this machine, be it other tests in other namespaces: the
// kernel counts keys for each id, those of sandboxes that have ended until it takes
// them back.
var ids = isolate.IDRange{Base: 0x7fc00000 + rand.Uint32N(16)<<16, Size: 65536}

// base is the first of the ids, as mount tables show it.
var base = fmt.Sprint(ids.Base)

// probePlan runs the probe in a sandbox that uses all that a spec can ask for.
func probePlan(tb testing.TB, host isolate.Host, ask func(*isolate.Spec)) isolate.Plan {
	tb.Helper()
	file := filepath.Join(tb.TempDir(), "file")
	if err := os.WriteFile(file, []byte("of the host\n"), 0o644); err != nil {
		tb.Fatal(err)
	}
	spec := isolate.Spec{
		Hostname: "blog-web.1", Dir: "/app", User: testbed.Template(tb).User,
		Binds: []isolate.Bind{
			{Source: probeDir, Target: probeTarget, IDMapped: true},
			{Source: file, Target: "/etc/resolv.conf"},
			{Source: file, Target: "/srv/deep/file", IDMapped: true},
			{Source: filepath.Dir(file), Target: "/srv/volume", IDMapped: true, Writable: true},
		},
		Scratch: []isolate.Scratch{{Target: "/srv/scratch", Size: 8 << 20}},
		Args:    []string{probeTarget + "/probe"},
		Env:     []string{"HOME=/app", "PATH=/usr/bin:/bin", "PORT=10000", "EMPTY="},
		Limits:  isolate.Limits{Memory: 256 << 20, Pids: 64, CPU: 1.5},
	}
	ask(&spec)
	plan := planOf(tb, host, spec)
	plan.Args = append(plan.Args, guarded(plan)...)
	return plan
}

// planOf fills a spec in and plans it. The layer, at the paths that the plan
// names, is made and removed for each run.
func planOf(tb testing.TB, host isolate.Host, s isolate.Spec) isolate.Plan {
	tb.Helper()
	s.ID, s.IDs = uuid.NewString(), ids
	if s.Template == "" {
		s.Template = testbed.Template(tb).Path
	}
	dir := filepath.Join(filepath.Dir(probeDir), "layers", s.ID)
	s.Layer = isolate.Layer{Upper: filepath.Join(dir, "upper"), Work: filepath.Join(dir, "work")}
	plan, err := isolate.NewPlan(s, host)
	if err != nil {
		tb.Fatal(err)
	}
	return plan
}

// guarded are the paths that the plan hides or protects, and some that nothing
// in a sandbox should ever be able to use.
func guarded(p isolate.Plan) []string {
	paths := append([]string{"/dev/core", "/dev/kmsg", "/dev/mem", "/sys/fs/cgroup", "/sys/kernel/uevent_helper"}, p.Masked...)
	paths = append(paths, p.ReadOnly...)
	for _, s := range p.Steps {
		if m, ok := s.(isolate.Mask); ok {
			paths = append(paths, m.Path)
		}
	}
	return paths
}

// Our engine and libcontainer make the same sandbox of one plan, but for what
// the table accepts, for every kind of identity that a spec can ask for and under
// a filter of its own.
func TestOracle(t *testing.T) {
	testbed.Leaves(t)
	we, they := newOurs(t), newTheirs(t)
	compared := newComparison(acceptedRows)
	for name, ask := range map[string]func(*isolate.Spec){
		"user": func(*isolate.Spec) {},
		"user with capabilities": func(s *isolate.Spec) {
			s.Capabilities = []string{"CAP_CHOWN", "CAP_NET_BIND_SERVICE", "CAP_SYS_PTRACE", "CAP_SYS_ADMIN"}
		},
		"root":                   func(s *isolate.Spec) { s.User, s.Capabilities = isolate.User{}, isolate.RootCapabilities },
		"root without privilege": func(s *isolate.Spec) { s.User = isolate.User{} },
		"profile":                func(s *isolate.Spec) { s.Seccomp = profile(t) },
	} {
		t.Run(name, func(t *testing.T) {
			p := probePlan(t, we.engine.Host(), ask)
			a, err := observe(t, we.start, p)
			if err != nil {
				t.Fatal(err)
			}
			b, err := observe(t, they.start, p)
			if err != nil {
				t.Fatal(err)
			}
			if err := compareFilters(a, b); err != nil {
				t.Fatal(err)
			}
			if len(a.report) < 1000 || len(a.filters) != 1 || len(b.filters) != 1 {
				t.Errorf("%d fields, %d and %d filters: too few to mean anything", len(a.report), len(a.filters), len(b.filters))
			}
			if found := compared.differences(a.report, b.report); len(found) > 0 {
				t.Errorf("%d differences that are not accepted:\n\t%s", len(found), list(found))
			}
			t.Logf("%d fields compared", len(a.report))
		})
	}
	if stale := compared.stale(); len(stale) > 0 && !t.Failed() {
		t.Errorf("accepted differences that there are not:\n\t%s", strings.Join(stale, "\n\t"))
	}
}
