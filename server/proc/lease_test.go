package proc

import (
	"os"
	"path/filepath"
	"testing"
)

// Leases do not meet each other, and nothing is left of what was released.
func TestLeaseIDs(t *testing.T) {
	run := filepath.Join(t.TempDir(), "run")
	taken := map[uint32]bool{}
	var releases []func() error
	for range 3 {
		ranges, release, err := LeaseIDs(run, t.TempDir(), 2)
		if err != nil || len(ranges) != 2 {
			t.Fatalf("%v, %v", ranges, err)
		}
		for _, r := range ranges {
			if taken[r.Base] || r.Size != idsEach || r.Base < idsBase || r.Base >= 0x7fff0000 {
				t.Errorf("got %+v beside %v", r, taken)
			}
			taken[r.Base] = true
		}
		releases = append(releases, release)
	}
	if _, _, err := LeaseIDs(run, filepath.Join(run, "ids", "lock"), 1); err == nil {
		t.Error("a file serves as the folder")
	}
	for _, release := range releases {
		if err := release(); err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Lstat(run); !os.IsNotExist(err) {
		t.Errorf("left: %v", err)
	}
}
