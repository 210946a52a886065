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

// What was leased by somebody who was killed is released by whoever finds the
// folder, and no one else's is.
func TestReleaseIDs(t *testing.T) {
	run, killed := filepath.Join(t.TempDir(), "run"), t.TempDir()
	if _, _, err := LeaseIDs(run, killed, 2); err != nil {
		t.Fatal(err)
	}
	_, release, err := LeaseIDs(run, t.TempDir(), 1)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time there is nothing to do
		if err := ReleaseIDs(run, killed); err != nil {
			t.Error(err)
		}
	}
	if left, err := filepath.Glob(filepath.Join(run, "ids", "[0-9]*")); err != nil || len(left) != 1 {
		t.Errorf("leased: %q %v", left, err)
	}
	if err := release(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(run); !os.IsNotExist(err) {
		t.Errorf("left: %v", err)
	}
}
