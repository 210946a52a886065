//go:build integration

package isolate_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/gilliam/hypervisor/integration/testbed"
	"github.com/gilliam/hypervisor/isolate"
	"github.com/gilliam/hypervisor/isolate/ext4"
	"github.com/gilliam/hypervisor/rootfs"
)

// limited is a spec whose layer is an image with these limits.
func limited(tb *testing.T, limits isolate.Limits, args ...string) isolate.Spec {
	tb.Helper()
	s := spec(tb, args...)
	layers, err := rootfs.OpenLayers(filepath.Join(tb.TempDir(), "images"))
	must(tb, err)
	s.Layer, err = layers.CreateImage(s.ID, limits)
	must(tb, err)
	s.Limits = limits
	return s
}

// A sandbox fills its layer and no more, in bytes and in files; what it uses is seen
// from outside, and its image takes no more of the host's disk.
func TestDiskLimit(t *testing.T) {
	testbed.Leaves(t)
	e := testbed.Engine(t)
	s := limited(t, isolate.Limits{Disk: 32 << 20, Inodes: 512}, "sleep", "infinity")
	box, err := launch(t, e, s) // which verifies the limits
	must(t, err)
	said := func(line, want string) {
		t.Helper()
		if got, _ := command(t, box, "", line); got != want {
			t.Errorf("%s: got %q, want %q", line, got, want)
		}
	}
	said("df --output=fstype,size,itotal -B1 / | tail -1 | xargs", "overlay 33554432 512\n")
	said("dd if=/dev/zero of=/var/tmp/big bs=1M 2>&1 | grep -o 'No space left.*'", "No space left on device\n")
	u, err := box.Usage()
	must(t, err)
	if u.DiskLimit != 32<<20 || u.Disk < 28<<20 || u.Disk > u.DiskLimit || u.InodesLimit != 512 || u.Inodes < 12 || u.Inodes > 40 {
		t.Errorf("usage: %+v", u)
	}
	var st unix.Stat_t
	must(t, unix.Stat(s.Layer.Image, &st))
	if got := st.Blocks * 512; got > 33<<20 {
		t.Errorf("the image takes %d bytes of the host's disk", got)
	}
	said("rm /var/tmp/big; n=0; while : 2>/dev/null >/var/tmp/$n; do n=$((n+1)); done; echo $((n > 450 && n < 512))", "1\n")
	u, err = box.Usage()
	must(t, err)
	if u.Inodes != 512 || u.Disk > 1<<20 {
		t.Errorf("usage: %+v", u)
	}
	said("rm -f /var/tmp/*; echo again >/var/tmp/x && cat /var/tmp/x", "again\n")
}

// Nothing in a sandbox counts what is read from and written to layers, its own or
// those of others. Control: the host sees it.
func TestDiskCountersHidden(t *testing.T) {
	const counters = "cat /proc/diskstats /proc/partitions /sys/block/loop*/stat /sys/block/loop*/size /sys/fs/ext4/loop*/* 2>/dev/null | wc -c"
	box, err := launch(t, testbed.Engine(t), limited(t, isolate.Limits{Disk: 16 << 20}, "sleep", "infinity"))
	must(t, err)
	if got, _ := command(t, box, "", counters); got != "0\n" {
		t.Errorf("%s bytes of counters", got)
	}
	if got, err := exec.Command("/bin/sh", "-c", counters).Output(); err != nil || len(got) < len("100\n") {
		t.Errorf("control: %q %v", got, err)
	}
}

// What the layer's file system is made of fails by name when it is not as planned, and
// leaves nothing.
func TestBadImages(t *testing.T) {
	testbed.Leaves(t)
	e := testbed.Engine(t)
	limits := isolate.Limits{Disk: 16 << 20}
	for want, spoil := range map[string]func(image string) error{
		"no such file":              os.Remove,
		"invalid argument":          func(image string) error { return os.WriteFile(image, make([]byte, 4096), 0o600) },
		"must have 16777216 bytes,": func(image string) error { return reformat(image, 17<<20) },
		"too many levels of symbolic links": func(image string) error {
			return errors.Join(os.Rename(image, image+"2"), os.Symlink(image+"2", image))
		},
	} {
		s := limited(t, limits, "true")
		must(t, spoil(s.Layer.Image))
		_, err := launch(t, e, s)
		var failed *isolate.StepError
		if !errors.As(err, &failed) || !strings.Contains(err.Error(), want) || !strings.HasPrefix(failed.Step, "mount ext4 "+s.Layer.Image) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

// reformat makes a layer's file system one of another size.
func reformat(image string, size int64) error {
	shape, err := ext4.NewShape(size, 1024)
	if err != nil {
		return err
	}
	f, err := os.Create(image)
	if err != nil {
		return err
	}
	return errors.Join(f.Truncate(shape.Size()), ext4.Format(f, shape, ext4.Identity{}), f.Close())
}
