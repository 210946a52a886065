//go:build integration

package isolate_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gilliam/hypervisor/integration/testbed"
	"github.com/gilliam/hypervisor/isolate"
	"github.com/gilliam/hypervisor/isolate/ext4"
)

// volumeImage makes the image of a volume, as the hypervisor does.
func volumeImage(tb testing.TB, size int64) string {
	tb.Helper()
	shape, err := isolate.VolumeShape(size)
	if err != nil {
		tb.Fatal(err)
	}
	f, err := os.Create(filepath.Join(tb.TempDir(), "image"))
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	if err := unix.Fallocate(int(f.Fd()), 0, 0, shape.Size()); err != nil {
		tb.Fatal(err)
	}
	if err := ext4.Format(f, shape, ext4.Identity{UUID: [16]byte{1}, Time: time.Now(), UID: 1000, GID: 1000}); err != nil {
		tb.Fatal(err)
	}
	return f.Name()
}

// onVolume runs a shell line with a volume at /data, in ids of its own.
func onVolume(t *testing.T, e *isolate.Engine, v isolate.Volume, n uint32, line string) (*running, error) {
	t.Helper()
	s := testbed.Spec(t, isolate.IDRange{Base: ids.Base - n<<16, Size: ids.Size}, sh(line)...)
	v.Target = "/data"
	s.Volumes = []isolate.Volume{v}
	return launch(t, e, s) // which verifies what was mounted
}

// A volume with a size keeps what one sandbox writes for the next, whose ids are
// others; it ends at its size, and the whole of that is the host's disk's from the
// start. One that is read-only is.
func TestSizedVolume(t *testing.T) {
	testbed.Leaves(t)
	e := testbed.Engine(t)
	v := isolate.Volume{Image: volumeImage(t, 16<<20), Size: 16 << 20}
	var before unix.Stat_t
	must(t, unix.Stat(v.Image, &before))
	for n, c := range []struct{ line, want string }{
		{"stat -c '%U %a' /data; echo one >/data/f; chmod 600 /data/f; head -c 64M /dev/zero 2>&1 >/data/big | grep -o 'No space.*'; rm /data/big; i=0; while : 2>/dev/null >/data/$i; do i=$((i+1)); done; echo $((i > 900 && i < 1024))",
			"gilliam 755\nNo space left on device\n1\n"},
		{"cat /data/f; stat -c '%U %a' /data/f; rm /data/*; echo two >/data/f; df --output=size,itotal -B1 /data | tail -n 1 | xargs", "one\ngilliam 600\n16777216 1024\n"},
		{"cat /data/f; (echo three >/data/f)", "two\n"},
	} {
		v.ReadOnly = n == 2
		r, err := onVolume(t, e, v, uint32(n), "{ "+c.line+"; } 2>/dev/null")
		must(t, err)
		if got, _ := r.finish(t); got != c.want {
			t.Errorf("%s: got %q, want %q", c.line, got, c.want)
		}
	}
	var after unix.Stat_t
	must(t, unix.Stat(v.Image, &after))
	if before.Blocks*512 < 20<<20 || after.Blocks > before.Blocks+64 {
		t.Errorf("the image had %d blocks of the disk and has %d", before.Blocks, after.Blocks)
	}
}

// Two sandboxes never have one volume at once, whatever anybody's records say; the
// next waits until the kernel has done with the last.
func TestSizedVolumeIsOnes(t *testing.T) {
	defer isolate.SetLockPatience(300 * time.Millisecond)()
	e := testbed.Engine(t)
	v := isolate.Volume{Image: volumeImage(t, 8<<20), Size: 8 << 20}
	first, err := onVolume(t, e, v, 0, "echo up; head -c 4M /dev/urandom >/data/f; sha256sum </data/f >/data/sum; echo written; exec sleep 1000")
	must(t, err)
	first.line(t)
	if _, err := onVolume(t, e, v, 1, "true"); err == nil || !strings.Contains(err.Error(), "another sandbox has it") {
		t.Errorf("a second sandbox: %v", err)
	}
	first.line(t)
	if u, err := first.Usage(); err != nil || len(u.Volumes) != 1 || u.Volumes[0].Target != "/data" || u.Volumes[0].DiskLimit != 8<<20 ||
		u.Volumes[0].Disk < 4<<20 || u.Volumes[0].InodesLimit != 512 || u.Volumes[0].Inodes < 12 {
		t.Errorf("usage: %+v %v", u.Volumes, err)
	}
	isolate.SetLockPatience(30 * time.Second)
	first.Kill()
	next, err := onVolume(t, e, v, 1, "sha256sum </data/f | diff - /data/sum && echo same")
	must(t, err)
	if got, _ := next.finish(t); got != "same\n" {
		t.Errorf("got %q", got)
	}
}

// Wherever the machine stops, the kernel mends the file system as it mounts it, and
// all that was synced is there. The file system is shut down in the middle of its work
// as a power cut would do it: nothing more gets to the disk.
func TestSizedVolumeAfterPowerCut(t *testing.T) {
	e := testbed.Engine(t)
	v := isolate.Volume{Image: volumeImage(t, 16<<20), Size: 16 << 20}
	const cuts = 5
	const busy = `echo up; i=0; while :; do i=$((i+1)); mkdir /data/x$i; mv /data/x$i /data/y$((i%9)) || rmdir /data/y$((i%9))/* /data/y$((i%9))
		head -c 100k /dev/zero >/data/unsynced$((i%7)); rm -f /data/unsynced$(((i+3)%7)); done 2>/dev/null`
	for n := range cuts {
		r, err := onVolume(t, e, v, uint32(n), busy)
		must(t, err)
		r.line(t)
		for past := range n {
			if got, _ := command(t, r, "", fmt.Sprintf("cat /data/synced%d/f", past)); got != fmt.Sprintf("%d\n", past) {
				t.Errorf("after %d cuts, what was synced before the %d. is %q", n, past+1, got)
			}
		}
		write := fmt.Sprintf("mkdir /data/synced%[1]d && echo %[1]d >/data/synced%[1]d/f && sync /data/synced%[1]d/f /data/synced%[1]d /data && echo synced", n)
		if got, _ := command(t, r, "", write); got != "synced\n" {
			t.Fatalf("got %q", got)
		}
		cut(t, filepath.Join("/proc", strconv.Itoa(r.PID()), "root/data"))
		r.Kill()
		r.Wait()
		must(t, r.Destroy())
		locked(t, v.Image)
		if !needsRecovery(t, v.Image) {
			t.Error("there is nothing to mend: this tests nothing")
		}
	}
	r, err := onVolume(t, e, v, 0, "ls -d /data/synced* | wc -l; rm -r /data/* && echo sound")
	must(t, err)
	if got, _ := r.finish(t); got != fmt.Sprintf("%d\nsound\n", cuts) {
		t.Errorf("got %q", got)
	}
	must(t, r.Destroy())
	locked(t, v.Image)
	if needsRecovery(t, v.Image) {
		t.Error("it is not clean after a proper end")
	}
	// The template has a program that looks closer than the kernel does.
	s := spec(t, "/sbin/e2fsck", "-f", "-n", "/srv/image")
	s.User, s.Capabilities = isolate.User{}, isolate.RootCapabilities
	s.Binds = []isolate.Bind{{Source: v.Image, Target: "/srv/image", IDMapped: true}}
	r, err = launch(t, e, s)
	must(t, err)
	if text, exit := r.finish(t); exit.Code != 0 {
		t.Errorf("e2fsck: %+v\n%s", exit, text)
	}
}

// cut shuts a file system down without a flush: EXT4_IOC_SHUTDOWN (ioctl(2)).
func cut(t *testing.T, path string) {
	t.Helper()
	f, err := os.Open(path)
	must(t, err)
	defer f.Close()
	const shutdown, noLogFlush = 0x8004587D, 2
	must(t, unix.IoctlSetPointerInt(int(f.Fd()), shutdown, noLogFlush))
}

// needsRecovery tells whether the superblock of an image says that its journal is to
// be replayed.
func needsRecovery(t *testing.T, image string) bool {
	t.Helper()
	b := make([]byte, 2048)
	f, err := os.Open(image)
	must(t, err)
	defer f.Close()
	_, err = f.ReadAt(b, 0)
	must(t, err)
	return b[1024+0x60]&0x4 != 0
}

// locked waits until the kernel has done with an image.
func locked(t *testing.T, image string) {
	t.Helper()
	f, err := os.Open(image)
	must(t, err)
	defer f.Close()
	must(t, unix.Flock(int(f.Fd()), unix.LOCK_EX))
}

// An image that is none of a volume's fails the launch by name, and leaves nothing.
func TestBadVolumes(t *testing.T) {
	testbed.Leaves(t)
	e := testbed.Engine(t)
	good := volumeImage(t, 8<<20)
	empty := filepath.Join(t.TempDir(), "empty")
	must(t, os.WriteFile(empty, make([]byte, 16<<20), 0o600))
	link := filepath.Join(t.TempDir(), "link")
	must(t, os.Symlink(good, link))
	for _, c := range []struct {
		image string
		size  int64
		want  string
	}{
		{good, 9 << 20, "must have 9437184 bytes"}, {empty, 8 << 20, "invalid argument"}, {link, 8 << 20, "too many levels"},
		{good + ".none", 8 << 20, "no such file"}, {filepath.Dir(good), 8 << 20, "is a directory"},
	} {
		if _, err := onVolume(t, e, isolate.Volume{Image: c.image, Size: c.size}, 0, "true"); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s, %d bytes: got %v, want %s", c.image, c.size, err, c.want)
		}
	}
}
