//go:build integration

package attack

import (
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/gilliam/hypervisor/integration/testbed"
	"github.com/gilliam/hypervisor/isolate"
	"github.com/gilliam/hypervisor/rootfs"
)

const diskMiB, diskFiles = 24, 400

// filler is a spec that fills thrice what its layer may have, and then waits. Without a
// limit its layer is a pair of folders.
func filler(t *testing.T, n uint32, limited bool, dirs ...string) isolate.Spec {
	t.Helper()
	s := tenant(t, spec(t, append([]string{"fill", strconv.Itoa(3 * diskMiB), strconv.Itoa(3 * diskFiles)}, dirs...)...), n)
	if !limited {
		return s
	}
	layers, err := rootfs.OpenLayers(filepath.Join(t.TempDir(), "images"))
	if err != nil {
		t.Fatal(err)
	}
	s.Limits.Disk, s.Limits.Inodes = diskMiB<<20, diskFiles
	if s.Layer, err = layers.CreateImage(s.ID, s.Limits); err != nil {
		t.Fatal(err)
	}
	return s
}

// T56, T57: whoever fills its disk, with bytes or with files, as its user or as its
// root, anywhere in its root, has ENOSPC and no more of the host's disk than its
// limit; a neighbour goes on. Control: without a limit all of it fits.
func TestFillDisk(t *testing.T) {
	e := testbed.Engine(t)
	for _, c := range []struct {
		name string
		root bool
		dirs []string
	}{
		{name: "user", dirs: []string{"/var/tmp"}},
		{name: "root", root: true, dirs: []string{"/", "/usr/bin", "/var/tmp"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, limited := range []bool{true, false} {
				s := filler(t, 0, limited, c.dirs...)
				if c.root {
					s.User, s.Capabilities = isolate.User{}, isolate.RootCapabilities
				}
				r := start(t, e, s).report(t)
				for name, got := range r.Detail {
					way, isCount := strings.CutPrefix(name, "got by ")
					want := "ENOSPC"
					switch {
					case isCount && limited:
						most := diskFiles
						if by, _, _ := strings.Cut(way, " "); by == "write" || by == "allocate" || by == "direct" {
							most = diskMiB
						}
						if n, err := strconv.Atoi(got); err != nil || n > most {
							t.Errorf("%s: %s of %d", name, got, most)
						}
						continue
					case isCount:
						continue
					case !limited:
						want = "ok"
					}
					if got != want {
						t.Errorf("limited %v: %s: %s, want %s", limited, name, got, want)
					}
				}
				if !limited {
					continue
				}
				var st unix.Stat_t
				if err := unix.Stat(s.Layer.Image, &st); err != nil || st.Blocks*512 > (diskMiB+1)<<20 {
					t.Errorf("the host's disk has %d bytes of it (%v)", st.Blocks*512, err)
				}
			}
		})
	}
}

// A neighbour of one whose disk is full writes what it may.
func TestFullNeighbour(t *testing.T) {
	e := testbed.Engine(t)
	full := filler(t, 0, true, "/var/tmp")
	full.Args[1] = "full"
	for name, got := range start(t, e, full).report(t).Detail {
		if got != "ENOSPC" {
			t.Errorf("%s: %s", name, got)
		}
	}
	s := filler(t, 1, true, "/var/tmp")
	s.Args = []string{"/app/probe", "fill", strconv.Itoa(diskMiB / 2), strconv.Itoa(diskFiles / 2), "/var/tmp"}
	for name, got := range start(t, e, s).report(t).Detail {
		if !strings.HasPrefix(name, "got by ") && got != "ok" {
			t.Errorf("beside a full one: %s: %s", name, got)
		}
	}
}
