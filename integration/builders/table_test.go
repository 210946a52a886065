//go:build builders

package builders

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// table is for a person. The first builder is ours.
func table(builders []*builder) string {
	var t strings.Builder
	ours := median(builders[0].took)
	fmt.Fprintf(&t, "%-16s %10s %10s  %s\n", "", "median", "ours is", "each")
	for i, r := range builders {
		ratio := ""
		if i > 0 {
			ratio = fmt.Sprintf("%.2f×", ours.Seconds()/median(r.took).Seconds())
		}
		fmt.Fprintf(&t, "%-16s %8.1f s %10s ", r.name, median(r.took).Seconds(), ratio)
		for _, took := range r.took {
			fmt.Fprintf(&t, " %.1f", took.Seconds())
		}
		t.WriteByte('\n')
	}
	return t.String()
}

func median(took []time.Duration) time.Duration {
	sorted := slices.Sorted(slices.Values(took))
	return (sorted[(len(sorted)-1)/2] + sorted[len(sorted)/2]) / 2
}

// difference is what only one of the lists has.
func difference(got, want []string) string {
	var t strings.Builder
	for _, p := range got {
		if !slices.Contains(want, p) {
			t.WriteString("+ " + p + "\n")
		}
	}
	for _, p := range want {
		if !slices.Contains(got, p) {
			t.WriteString("- " + p + "\n")
		}
	}
	return t.String()
}
