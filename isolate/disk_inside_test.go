//go:build integration

package isolate_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

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
	must(t, isolate.Trim(filepath.Dir(filepath.Dir(s.Layer.Image))))
	must(t, unix.Stat(s.Layer.Image, &st))
	if got := st.Blocks * 512; got > 8<<20 {
		t.Errorf("after a trim the image takes %d bytes of the host's disk", got)
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

// A layer that was prepared is the launch's, wherever it was moved to; one that was
// removed is nobody's, and its device goes with the next that is prepared.
func TestPreparedLayer(t *testing.T) {
	testbed.Leaves(t)
	e := testbed.Engine(t)
	limits := isolate.Limits{Disk: 16 << 20}
	removed := limited(t, limits, "true").Layer.Image
	must(t, e.PrepareLayer(removed, limits))
	must(t, os.Remove(removed))
	s := limited(t, limits, sh("echo x >/var/tmp/x; df --output=fstype,size -B1 / | tail -1 | xargs")...)
	must(t, e.PrepareLayer(s.Layer.Image, limits))
	testbed.Within(t, 10*time.Second, "one loop device, the other one is let go", func() bool { return loopDevices(t) == 1 })
	dir := filepath.Dir(s.Layer.Image)
	must(t, os.Rename(dir, dir+"-moved"))
	s.Layer.Image = filepath.Join(dir+"-moved", "image")
	r, err := launch(t, e, s)
	must(t, err)
	if got := loopDevices(t); got != 1 {
		t.Errorf("%d loop devices", got)
	}
	if text, exit := r.finish(t); text != "overlay 16777216\n" || exit.Code != 0 {
		t.Errorf("got %q, %+v", text, exit)
	}
	if err := e.PrepareLayer("/no/such/image", limits); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	if err := e.PrepareLayer("/no/such/image", isolate.Limits{}); !errors.Is(err, isolate.ErrInvalid) {
		t.Errorf("got %v", err)
	}
}

// loopDevices is how many there are of layers of this test's.
func loopDevices(t *testing.T) int {
	t.Helper()
	files, err := filepath.Glob("/sys/block/loop*/loop/backing_file")
	must(t, err)
	n := 0
	for _, path := range files {
		if name, err := os.ReadFile(path); err == nil && strings.HasPrefix(string(name), filepath.Dir(t.TempDir())) {
			n++
		}
	}
	return n
}

// A layer that is held back is full, at once and for root too; what is there can be
// read and written over; and then it goes on. One of another folder is left alone.
func TestHoldBack(t *testing.T) {
	testbed.Leaves(t)
	e := testbed.Engine(t)
	limits := isolate.Limits{Disk: 64 << 20}
	s, other := limited(t, limits, "sleep", "infinity"), limited(t, limits, "sleep", "infinity")
	s.User, s.Capabilities = isolate.User{}, isolate.RootCapabilities
	other.IDs.Base -= other.IDs.Size
	box, err := launch(t, e, s)
	must(t, err)
	beside, err := launch(t, e, other)
	must(t, err)
	const writes = "dd if=/dev/zero of=/var/tmp/%s bs=1M count=4 conv=notrunc 2>&1 | grep -oE 'No space left|copied' | head -1"
	said := func(b *running, name, want string) {
		t.Helper()
		if got, _ := command(t, b, "", fmt.Sprintf(writes, name)); got != want+"\n" {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	dir := filepath.Dir(filepath.Dir(s.Layer.Image))
	said(box, "a", "copied")
	must(t, isolate.HoldBack(dir, true))
	said(box, "b", "No space left")
	said(box, "a", "copied")
	said(beside, "b", "copied")
	must(t, isolate.HoldBack(dir, false))
	said(box, "b", "copied")
	if diff, err := box.Verify(); len(diff) > 0 || err != nil {
		t.Errorf("%v %v", diff, err)
	}
}

// When the disk of the host is full, an app hears of it and nothing hangs.
func TestHostFull(t *testing.T) {
	testbed.Leaves(t)
	e := testbed.Engine(t)
	small := t.TempDir()
	must(t, unix.Mount("none", small, "tmpfs", 0, "size=8m"))
	defer func() {
		testbed.Within(t, 10*time.Second, "the end of the small disk", func() bool { return unix.Unmount(small, 0) == nil })
	}()
	layers, err := rootfs.OpenLayers(filepath.Join(small, "layers"))
	must(t, err)
	defer layers.Close()
	s := spec(t, sh("dd if=/dev/zero of=/var/tmp/x bs=1M count=32 conv=fsync 2>/dev/null && echo written; sync -f /var/tmp/x; echo alive")...)
	s.Limits = isolate.Limits{Disk: 64 << 20}
	s.Layer, err = layers.CreateImage(s.ID, s.Limits)
	must(t, err)
	box, err := launch(t, e, s)
	must(t, err)
	if text, exit := box.finish(t); !strings.HasSuffix(text, "alive\n") || exit.Code != 0 {
		t.Errorf("got %q, %+v", text, exit)
	}
	must(t, box.Destroy())
	must(t, layers.Remove(s.ID))
}
