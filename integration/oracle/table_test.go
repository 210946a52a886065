//go:build integration

package oracle

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// maxIdle is what a sandbox that does nothing may take beside its app, in bytes.
const maxIdle = 1 << 20

// table is what the benchmark found, for a person. The first runner is ours.
func table(runners []*runner, m memory) string {
	var b strings.Builder
	ours := runners[0].median()
	fmt.Fprintf(&b, "/bin/true from nothing to nothing left, %d times each, in turns\n\n", len(runners[0].took))
	fmt.Fprintf(&b, "%-18s %9s %15s %8s  %s\n", "", "median", "10 % to 90 %", "ours is", "target")
	for i, r := range runners {
		fmt.Fprintf(&b, "%-18s %6.2f ms %6.2f – %6.2f", r.name, ms(r.median()), ms(r.quantile(0.1)), ms(r.quantile(0.9)))
		if i > 0 {
			ratio := float64(ours) / float64(r.median())
			fmt.Fprintf(&b, " %7.2f×", ratio)
			if r.atMost > 0 {
				fmt.Fprintf(&b, "  ≤ %.2f×, %s", r.atMost, verdict(ratio, r.atMost))
			}
		}
		b.WriteByte('\n')
	}
	fmt.Fprintf(&b, "\nmemory of an idle sandbox beside its app (PSS), of %d: %d KiB of sandbox-init, %d KiB of the engine;  ≤ %d KiB, %s\n",
		idlers, m.init>>10, m.engine>>10, maxIdle>>10, verdict(float64(m.init+m.engine), maxIdle))
	return b.String()
}

// verdict says whether what was found is within the target.
func verdict(found, target float64) string {
	if found <= target {
		return "met"
	}
	return fmt.Sprintf("missed by %.0f %%", 100*(found/target-1))
}

func ms(d time.Duration) float64 { return d.Seconds() * 1000 }

func (r *runner) median() time.Duration { return r.quantile(0.5) }

// quantile is the time that this share of the runs did not take longer than.
func (r *runner) quantile(share float64) time.Duration {
	sorted := slices.Sorted(slices.Values(r.took))
	return sorted[int(share*float64(len(sorted)-1)+0.5)]
}
