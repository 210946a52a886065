//go:build integration

package isolate_test

import (
	"fmt"
	"io"
	"path/filepath"
	"testing"

	"github.com/gilliam/hypervisor/integration/testbed"
	"github.com/gilliam/hypervisor/isolate"
	"github.com/gilliam/hypervisor/rootfs"
	"github.com/gilliam/hypervisor/rootfs/fsimage/fsimagetest"
)

// BenchmarkLaunchFrom is a launch with an image at /app, from its creation until the
// program has ended and nothing is left: one that was unpacked into a folder, and
// file systems.
func BenchmarkLaunchFrom(b *testing.B) {
	folder := b.TempDir()
	for kind, show := range map[string]func(*isolate.Spec){
		"folder": func(s *isolate.Spec) { s.Binds = []isolate.Bind{{Source: folder, Target: "/app", IDMapped: true}} },
		"squashfs": func(s *isolate.Spec) {
			s.FileSystems = []isolate.FileSystem{{Type: "squashfs", Image: fsimagetest.File(b, "squashfs"), Target: "/app"}}
		},
		"erofs": func(s *isolate.Spec) {
			s.FileSystems = []isolate.FileSystem{{Type: "erofs", Image: fsimagetest.File(b, "erofs"), Target: "/app"}}
		},
	} {
		b.Run(kind, func(b *testing.B) { launchesFrom(b, show) })
	}
}

func launchesFrom(b *testing.B, show func(*isolate.Spec)) {
	e := testbed.Engine(b)
	layers, err := rootfs.OpenLayers(filepath.Join(b.TempDir(), "layers"))
	if err != nil {
		b.Fatal(err)
	}
	s := testbed.Spec(b, ids, "/bin/true")
	show(&s)
	for n := 0; b.Loop(); n++ {
		b.StopTimer()
		s.ID = fmt.Sprint("bench-", n)
		if s.Layer, err = layers.Create(s.ID, ids, nil); err != nil {
			b.Fatal(err)
		}
		plan, err := isolate.NewPlan(s, e.Host())
		if err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		box, out, err := testbed.Launch(b, e, plan)
		if err != nil {
			b.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, out)
		if err := box.Destroy(); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		out.Close()
		if err := layers.Remove(s.ID); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}
