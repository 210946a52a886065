//go:build integration

package oracle

import (
	"os"
	"testing"
	"time"

	"github.com/gilliam/hypervisor/integration/testbed"
	"github.com/gilliam/hypervisor/isolate"
)

// BenchmarkOracle runs /bin/true from creation to removal by one plan, in a layer
// of its own, by our engine and by libcontainer in this process, in turns, so
// that a busy machine slows all alike. The metrics that count are the ratios: how
// many times as long as ours libcontainer takes, with a seccomp filter as ours has
// one, and without any.
func BenchmarkOracle(b *testing.B) {
	we, they := newOurs(b), newTheirs(b)
	user := testbed.Template(b).User
	null, err := os.OpenFile(b.TempDir()+"/out", os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		b.Fatal(err)
	}
	defer null.Close()
	runners := []struct {
		name string
		run  start
		took time.Duration
	}{{"hypervisor", we.start, 0}, {"libcontainer", they.start, 0}, {"unfiltered", they.startUnfiltered, 0}}
	once := func(run start) time.Duration {
		begin := time.Now()
		p := planOf(b, we.engine.Host(), isolate.Spec{Args: []string{"/bin/true"}, User: user})
		makeLayer(b, p)
		prog, err := run(p, null)
		if err != nil {
			b.Fatal(err)
		}
		if err := prog.wait(); err != nil {
			b.Fatal(err)
		}
		if err := prog.stop(); err != nil {
			b.Fatal(err)
		}
		removeLayer(b, p)
		return time.Since(begin)
	}
	for _, r := range runners { // caches are warm for all
		once(r.run)
	}
	rounds := 0
	for b.Loop() {
		rounds++
		for i := range runners {
			runners[i].took += once(runners[i].run)
		}
	}
	for _, r := range runners {
		b.ReportMetric(float64(r.took.Microseconds())/1000/float64(rounds), r.name+"-ms")
	}
	for _, r := range runners[1:] {
		b.ReportMetric(float64(r.took)/float64(runners[0].took), r.name+"/hypervisor")
	}
}
