//go:build integration

package isolate

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/gilliam/hypervisor/isolate/ext4"
)

// A way is one way to a place that a sandbox can write to and that is all of its
// root: it makes that and takes it away again.
type way func(b *testing.B, dir, template string) error

// BenchmarkLayer is the making and the removal of a layer, on which nothing is
// written, by ours and by others' ways. It is done in a mount namespace of its own.
func BenchmarkLayer(b *testing.B) {
	template := os.Getenv("TEMPLATE")
	if template == "" {
		template = "/var/lib/gilliam/templates/default/current/tree"
	}
	for _, c := range []struct {
		name string
		way  way
	}{
		{"folder", folderWay}, {"image", imageWay},
		{"mkfs.ext4+mount", mkfsWay}, {"mount-overlay", mountWay}, {"cp-a", copyWay},
	} {
		b.Run(c.name, func(b *testing.B) {
			dir := b.TempDir()
			err := onThread(func() error {
				if err := enterNamespaces(Plan{Hostname: "bench"}); err != nil {
					return err
				}
				for b.Loop() {
					if err := c.way(b, dir, template); err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				b.Fatal(err)
			}
		})
	}
}

// overlay mounts the overlay over the template and unmounts it.
func overlay(dir, template string) error {
	options := "lowerdir=" + template + ",upperdir=" + dir + "/upper,workdir=" + dir + "/work,volatile"
	at := filepath.Join(dir, "root")
	if err := errors.Join(os.MkdirAll(at, 0o755), unix.Mount("x", at, "overlay", 0, options)); err != nil {
		return err
	}
	return errors.Join(unix.Unmount(at, 0), os.Remove(at))
}

func folderWay(_ *testing.B, dir, template string) error {
	err := errors.Join(os.Mkdir(dir+"/upper", 0o755), os.Mkdir(dir+"/work", 0o755), overlay(dir, template))
	return errors.Join(err, os.RemoveAll(dir+"/upper"), os.RemoveAll(dir+"/work"))
}

func imageWay(_ *testing.B, dir, template string) error {
	step, err := benchImage(dir)
	if err != nil {
		return err
	}
	l := newLayers()
	defer l.close()
	mnt, err := l.mount(step, IDRange{1 << 20, 1 << 16})
	if err != nil {
		return err
	}
	b := builder{layer: &later[*os.File]{value: mnt, made: make(chan struct{})}}
	close(b.layer.made)
	if err := b.mountLayer(step); err != nil {
		return err
	}
	err = overlay(dir, template)
	return errors.Join(err, unix.Unmount(dir, unix.MNT_DETACH), mnt.Close(), os.Remove(step.Image))
}

// benchImage makes an image of the default size.
func benchImage(dir string) (MountLayer, error) {
	steps, _ := planLayer(Spec{Layer: Layer{Image: dir + "/image"}, Limits: Limits{Disk: DefaultDisk}})
	step := steps[0].(MountLayer)
	shape, err := Limits{Disk: DefaultDisk}.Shape()
	if err != nil {
		return step, err
	}
	f, err := os.Create(step.Image)
	if err != nil {
		return step, err
	}
	return step, errors.Join(f.Truncate(shape.Size()), ext4.Format(f, shape, ext4.Identity{}), f.Close())
}

func run(name string, args ...string) error { return exec.Command(name, args...).Run() }

func mkfsWay(_ *testing.B, dir, template string) error {
	image := filepath.Join(filepath.Dir(dir), "mkfs.img")
	err := errors.Join(os.WriteFile(image, nil, 0o600), os.Truncate(image, DefaultDisk),
		run("mkfs.ext4", "-q", "-N", "65536", image), run("mount", "-o", "loop", image, dir),
		os.Mkdir(dir+"/upper", 0o755), os.Mkdir(dir+"/work", 0o755), overlay(dir, template))
	return errors.Join(err, run("umount", dir), os.Remove(image))
}

func mountWay(_ *testing.B, dir, template string) error {
	err := errors.Join(os.Mkdir(dir+"/upper", 0o755), os.Mkdir(dir+"/work", 0o755), os.Mkdir(dir+"/root", 0o755),
		run("mount", "-t", "overlay", "overlay", "-o", "lowerdir="+template+",upperdir="+dir+"/upper,workdir="+dir+"/work", dir+"/root"))
	err = errors.Join(err, run("umount", dir+"/root"))
	for _, name := range []string{"upper", "work", "root"} {
		err = errors.Join(err, os.RemoveAll(filepath.Join(dir, name)))
	}
	return err
}

// copyWay is the original's.
func copyWay(_ *testing.B, dir, template string) error {
	err := run("cp", "-a", template, dir+"/root")
	return errors.Join(err, os.RemoveAll(dir+"/root"))
}
