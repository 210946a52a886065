//go:build integration

package isolate_test

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/gilliam/hypervisor/integration/testbed"
	"github.com/gilliam/hypervisor/isolate"
	"github.com/gilliam/hypervisor/rootfs"
)

// BenchmarkLaunchOn is a launch, to the execution of the program, on each kind of
// layer, once that is made.
func BenchmarkLaunchOn(b *testing.B) {
	for _, kind := range []string{"folder", "image", "ready-image"} {
		b.Run(kind, func(b *testing.B) { launchesOn(b, kind) })
	}
}

func launchesOn(b *testing.B, kind string) {
	e := testbed.Engine(b)
	layers, err := rootfs.OpenLayers(filepath.Join(b.TempDir(), "layers"))
	if err != nil {
		b.Fatal(err)
	}
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		b.Fatal(err)
	}
	defer null.Close()
	s := testbed.Spec(b, ids, "/bin/true")
	limits := isolate.Limits{Disk: isolate.DefaultDisk}
	for n := 0; b.Loop(); n++ {
		b.StopTimer()
		s.ID = fmt.Sprint("bench-", n)
		if kind == "folder" {
			s.Layer, err = layers.Create(s.ID, ids, nil)
		} else {
			s.Limits = limits
			s.Layer, err = layers.CreateImage(s.ID, limits)
		}
		if err == nil && kind == "ready-image" {
			err = e.PrepareLayer(s.Layer.Image, limits)
		}
		if err != nil {
			b.Fatal(err)
		}
		plan, err := isolate.NewPlan(s, e.Host())
		if err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		box, out, err := testbed.Launch(b, e, plan)
		b.StopTimer()
		if err != nil {
			b.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, out)
		out.Close()
		if err := box.Destroy(); err != nil {
			b.Fatal(err)
		}
		if err := layers.Remove(s.ID); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}

// BenchmarkUnlink is the removal of a thousand files that are on the disk, by the app,
// with the mount option discard, which makes holes in its image at once, and without.
func BenchmarkUnlink(b *testing.B) {
	const script = `import os, mmap, time
page, files = mmap.mmap(-1, 4096), [f"/var/tmp/{n}" for n in range(1000)]
for f in files:
    d = os.open(f, os.O_CREAT | os.O_WRONLY | os.O_DIRECT); os.write(d, page); os.close(d)
begun = time.monotonic()
for f in files: os.unlink(f)
print(time.monotonic() - begun)`
	for _, options := range []string{"discard", "nodiscard"} {
		b.Run(options, func(b *testing.B) {
			e := testbed.Engine(b)
			total := 0.0
			for b.Loop() {
				layers, err := rootfs.OpenLayers(filepath.Join(b.TempDir(), "images"))
				if err != nil {
					b.Fatal(err)
				}
				s := testbed.Spec(b, ids, "python3", "-c", script)
				s.Limits.Disk = isolate.DefaultDisk
				if s.Layer, err = layers.CreateImage(s.ID, s.Limits); err != nil {
					b.Fatal(err)
				}
				plan, err := isolate.NewPlan(s, e.Host())
				if err != nil {
					b.Fatal(err)
				}
				image := plan.Steps[0].(isolate.MountLayer)
				image.Options = []string{options, "nobarrier"}
				plan.Steps = append([]isolate.Step{image}, plan.Steps[1:]...)
				box, out, err := testbed.Launch(b, e, plan)
				if err != nil {
					b.Fatal(err)
				}
				text, _ := io.ReadAll(out)
				out.Close()
				took, err := strconv.ParseFloat(strings.TrimSpace(string(text)), 64)
				if err != nil {
					b.Fatalf("%s", text)
				}
				total += took
				if err := box.Destroy(); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(total*1e6/float64(b.N)/1000, "µs/file")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// BenchmarkRemove is the removal of a layer in which an app has made a hundred thousand
// files: of an image, and of a folder.
func BenchmarkRemove(b *testing.B) {
	for _, kind := range []string{"folder", "image"} {
		b.Run(kind, func(b *testing.B) {
			e := testbed.Engine(b)
			for b.Loop() {
				b.StopTimer()
				layers, err := rootfs.OpenLayers(filepath.Join(b.TempDir(), "layers"))
				if err != nil {
					b.Fatal(err)
				}
				s := testbed.Spec(b, ids, "python3", "-c", "import os\nfor n in range(100000): os.mknod(f'/var/tmp/{n}')")
				if s.Layer, err = layers.Create(s.ID, ids, nil); kind == "image" && err == nil {
					err = layers.Remove(s.ID)
					if s.Limits = (isolate.Limits{Disk: isolate.DefaultDisk, Inodes: 110_000}); err == nil {
						s.Layer, err = layers.CreateImage(s.ID, s.Limits)
					}
				}
				if err != nil {
					b.Fatal(err)
				}
				plan, err := isolate.NewPlan(s, e.Host())
				if err != nil {
					b.Fatal(err)
				}
				box, out, err := testbed.Launch(b, e, plan)
				if err != nil {
					b.Fatal(err)
				}
				text, _ := io.ReadAll(out)
				out.Close()
				if exit := box.Wait(); exit.Code != 0 {
					b.Fatalf("%+v %s", exit, text)
				}
				if err := box.Destroy(); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
				if err := layers.Remove(s.ID); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
