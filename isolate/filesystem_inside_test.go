//go:build integration

package isolate_test

import (
	"encoding/binary"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/gilliam/hypervisor/integration/testbed"
	"github.com/gilliam/hypervisor/isolate"
	"github.com/gilliam/hypervisor/rootfs/fsimage/fsimagetest"
)

// withImage is a spec that has a small file system of a type at /app.
func withImage(tb testing.TB, kind string, args ...string) isolate.Spec {
	tb.Helper()
	s := spec(tb, args...)
	s.FileSystems = []isolate.FileSystem{{Type: kind, Image: fsimagetest.File(tb, kind), Target: "/app"}}
	return s
}

// A program runs from an image that the kernel mounts, as its own user, writes nothing
// to it and opens no device in it; the ids in it are the sandbox's own, where the
// kernel can show them so.
func TestFileSystems(t *testing.T) {
	for _, kind := range isolate.FileSystemTypes {
		t.Run(kind, func(t *testing.T) {
			testbed.Leaves(t)
			must(t, isolate.CheckFileSystem(kind))
			e := testbed.Engine(t)
			s := withImage(t, kind, sh(`./run; stat -c '%U %a' run; readlink link
				(echo x >message) 2>/dev/null || echo no write; (cat null) 2>/dev/null || echo no device
				cat data/private 2>/dev/null || echo nobody reads it`)...)
			plan, err := isolate.NewPlan(s, e.Host())
			must(t, err)
			want := "out of an image\nroot 755\n/etc/passwd\nno write\nno device\nof 1000\n"
			if !idmapped(plan) {
				want = "out of an image\nnobody 755\n/etc/passwd\nno write\nno device\nnobody reads it\n"
			}
			r, err := launchPlan(t, e, plan) // which verifies what was mounted
			must(t, err)
			if got, _ := r.finish(t); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}

func idmapped(p isolate.Plan) bool {
	for _, step := range p.Steps {
		if s, ok := step.(isolate.MountFileSystem); ok {
			return s.IDMapped
		}
	}
	return false
}

// What else is to be mounted in an image goes over it, as it does over a folder.
func TestInFileSystem(t *testing.T) {
	for _, kind := range isolate.FileSystemTypes {
		testbed.Leaves(t)
		s := withImage(t, kind, sh(`./run; echo x >cache/f && ls cache; (echo x >message) 2>/dev/null || echo no write`)...)
		s.Scratch = []isolate.Scratch{{Target: "/app/cache", Size: 1 << 20}}
		r, err := launch(t, testbed.Engine(t), s)
		must(t, err)
		if got, _ := r.finish(t); got != "out of an image\nf\nno write\n" {
			t.Errorf("%s: got %q", kind, got)
		}
	}
}

// Two sandboxes with the same image share nothing that they could talk by: a FIFO in it
// has another end in each, and a lock holds in one alone.
func TestFileSystemsApart(t *testing.T) {
	for _, kind := range isolate.FileSystemTypes {
		testbed.Leaves(t)
		e := testbed.Engine(t)
		s := withImage(t, kind, sh(`exec 3<>fifo; exec 4<message; flock 4; echo up; sleep infinity`)...)
		first, err := launch(t, e, s)
		must(t, err)
		first.line(t)
		same := s.FileSystems
		s = spec(t, sh(`dd if=/dev/null of=fifo oflag=nonblock 2>&1 | grep -o 'No such device.*'; flock -n message echo locked`)...)
		s.IDs.Base -= 1 << 16
		s.FileSystems = same
		second, err := launch(t, e, s)
		must(t, err)
		if got, _ := second.finish(t); got != "No such device or address\nlocked\n" {
			t.Errorf("%s: got %q", kind, got)
		}
	}
}

// An image that the kernel does not take is an error that says why, and leaves nothing.
func TestBadFileSystems(t *testing.T) {
	testbed.Leaves(t)
	e := testbed.Engine(t)
	for _, c := range []struct {
		kind  string
		want  string
		spoil func(*isolate.FileSystem)
	}{
		{"squashfs", "invalid argument", func(f *isolate.FileSystem) { patch(t, f.Image, 0, "notasqfs") }},
		{"squashfs", `"lzma" compression. This is not supported`, func(f *isolate.FileSystem) { patch(t, f.Image, 20, "\x02") }},
		{"squashfs", "mount squashfs", func(f *isolate.FileSystem) { must(t, os.Truncate(f.Image, 512)) }},
		{"squashfs", "no such file", func(f *isolate.FileSystem) { f.Image += "x" }},
		{"squashfs", "symbolic links", func(f *isolate.FileSystem) {
			must(t, os.Symlink(f.Image, f.Image+".link"))
			f.Image += ".link"
		}},
		{"erofs", "mount erofs", func(f *isolate.FileSystem) { patch(t, f.Image, 1024+12, "\x1f") }},
		{"erofs", "mount erofs", func(f *isolate.FileSystem) { must(t, os.Truncate(f.Image, 1024)) }},
		{"erofs", "mount erofs", func(f *isolate.FileSystem) { f.Image = fsimagetest.File(t, "squashfs") }},
	} {
		s := withImage(t, c.kind, "true")
		c.spoil(&s.FileSystems[0])
		_, err := launch(t, e, s)
		var failed *isolate.StepError
		if !errors.As(err, &failed) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %s", c.kind, err, c.want)
		}
	}
	if err := isolate.CheckFileSystem("nosuchfs"); !errors.Is(err, isolate.ErrUnsupported) || !strings.Contains(err.Error(), "modprobe nosuchfs") {
		t.Errorf("got %v", err)
	}
}

func patch(t *testing.T, path string, at int64, with string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	must(t, err)
	_, err = f.WriteAt([]byte(with), at)
	must(t, errors.Join(err, f.Close()))
}

// Where an image is damaged, an app reads errors, and the kernel goes on.
func TestDamagedFileSystem(t *testing.T) {
	testbed.Leaves(t)
	s := withImage(t, "squashfs", sh("cat message 2>/dev/null || echo damaged")...)
	b, err := os.ReadFile(s.FileSystems[0].Image)
	must(t, err)
	folders := binary.LittleEndian.Uint64(b[72:]) // where the names are, in a block behind its length
	patch(t, s.FileSystems[0].Image, int64(folders), "\x01\x00")
	r, err := launch(t, testbed.Engine(t), s)
	must(t, err)
	if got, _ := r.finish(t); got != "damaged\n" {
		t.Errorf("got %q", got)
	}
}
