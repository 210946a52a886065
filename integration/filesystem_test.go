//go:build integration

package integration

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/gilliam/hypervisor/integration/testbed"
	"github.com/gilliam/hypervisor/server"
	"github.com/gilliam/hypervisor/server/proc"
)

// packers are the tools that make file systems of folders, each with a way to compress
// that kernels have.
var packers = map[string][]string{
	"gzip.squashfs": {"mksquashfs", "SOURCE", "IMAGE", "-all-root", "-no-progress", "-quiet", "-comp", "gzip"},
	"xz.squashfs":   {"mksquashfs", "SOURCE", "IMAGE", "-all-root", "-no-progress", "-quiet", "-comp", "xz"},
	"zstd.squashfs": {"mksquashfs", "SOURCE", "IMAGE", "-all-root", "-no-progress", "-quiet", "-comp", "zstd"},
	"plain.erofs":   {"mkfs.erofs", "--all-root", "IMAGE", "SOURCE"},
	"lz4.erofs":     {"mkfs.erofs", "--all-root", "-zlz4", "IMAGE", "SOURCE"},
}

// packFileSystem makes an image of a folder.
func packFileSystem(tb testing.TB, packer, dir string) []byte {
	tb.Helper()
	image := filepath.Join(tb.TempDir(), packer)
	args := slices.Clone(packers[packer])
	args[slices.Index(args, "SOURCE")], args[slices.Index(args, "IMAGE")] = dir, image
	if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
		tb.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
	b, err := os.ReadFile(image)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// A web app runs from whatever the real tools make of its folder. The kernel mounts it
// as it was planned, and nothing of it is unpacked.
func TestFileSystemImages(t *testing.T) {
	images := make(map[string][]byte)
	for packer := range packers {
		images[packer] = packFileSystem(t, packer, "testdata/pyweb")
	}
	at := serveImages(t, images)
	d := serve(t, "--allow-image-fs", "squashfs", "--allow-image-fs", "erofs")
	for packer, image := range images {
		_, kind, _ := strings.Cut(packer, ".")
		p := d.create(proc.Request{App: "blog", Name: "python", Image: at + packer, Command: proc.Shell("exec python3 app.py")})
		if got := page(t, p.Port); got != "pyweb on blog-python\n" {
			t.Errorf("%s: got %q", packer, got)
		}
		if r := d.cli(t, "inspect", "--verify", p.ID); r.code != 0 {
			t.Errorf("%s: %s", packer, r)
		}
		plans := []string{
			d.want(http.StatusOK, http.MethodPost, "/v1/procs?dry_run=true", proc.Request{App: "blog", Name: "python", Image: at + packer, Command: p.Command}, nil).body,
			d.want(http.StatusOK, http.MethodGet, "/v1/procs/"+p.ID+"/plan", nil, nil).body,
		}
		mount := "mount " + kind + " " + filepath.Join(d.stateDir, "cache", strings.TrimPrefix(digest(image), "sha256:"), "file-system") + " on /app ro,nosuid,nodev"
		for _, plan := range plans {
			if !strings.Contains(plan, mount) {
				t.Errorf("%s: no %q in plan %s", packer, mount, plan)
			}
		}
		var list server.ImageList
		d.want(http.StatusOK, http.MethodGet, "/v1/images", nil, &list)
		if len(list.Images) != 1 || list.Images[0].Format != kind || list.Images[0].Digest != digest(image) || !slices.Equal(list.Images[0].UsedBy, []string{p.ID}) {
			t.Errorf("%s: the cache has %+v", packer, list.Images)
		}
		if r := d.cli(t, "image", "rm", digest(image)); r.code != 1 || !strings.Contains(r.stderr, "in use") {
			t.Errorf("%s: rm: %s", packer, r)
		}
		d.remove(p.ID)
		d.nothingLeftOf(t, p)
		if r := d.cli(t, "image", "rm", digest(image)); r.code != 0 {
			t.Errorf("%s: rm: %s", packer, r)
		}
	}
}

// A proc that runs from a file system is taken over by the next daemon, also by one
// that does not allow it any more; but that starts none. What is damaged is fetched
// again.
func TestFileSystemImageStays(t *testing.T) {
	image := packFileSystem(t, "zstd.squashfs", "testdata/pyweb")
	s := newShelf(t, image)
	d := serve(t, "--stop-on-exit=false", "--allow-image-fs=squashfs")
	p := d.create(proc.Request{App: "blog", Name: "python", Image: s.url, Command: proc.Shell("exec python3 app.py")})
	want := page(t, p.Port)
	p = d.until(p.ID, "running", func(p proc.Proc) bool { return p.State == proc.Running })

	d.kill()
	d.start()
	path := filepath.Join(d.stateDir, "cache", strings.TrimPrefix(digest(image), "sha256:"), "file-system")
	must(t, os.WriteFile(path+".new", append([]byte("x"), image[1:]...), 0o600)) // a program of the host's, not the kernel under the app
	must(t, os.Rename(path+".new", path))
	if r := d.cli(t, "image", "verify"); r.code != 1 || !strings.Contains(r.stdout, "file-system: content") || !strings.Contains(r.stderr, "has been fetched again") {
		t.Errorf("verify: %s", r)
	}
	if b, err := os.ReadFile(path); err != nil || digest(b) != digest(image) {
		t.Errorf("not fetched again: %v", err)
	}

	d.kill()
	d.args = slices.DeleteFunc(d.args, func(arg string) bool { return arg == "--allow-image-fs=squashfs" })
	d.start()
	if now := d.get(p.ID); now.State != proc.Running || now.PID != p.PID {
		t.Errorf("the proc is %+v", now)
	}
	if got := page(t, p.Port); got != want {
		t.Errorf("got %q", got)
	}
	if r := d.cli(t, "inspect", "--verify", p.ID); r.code != 0 {
		t.Errorf("inspect --verify: %s", r)
	}
	other := d.run(proc.Request{Image: s.url, Command: proc.Exec("/bin/true")})
	if other.State != proc.Fail || !strings.Contains(other.Reason, "is a file system (squashfs)") || !strings.Contains(other.Reason, "--allow-image-fs squashfs") {
		t.Errorf("got %+v", other)
	}
	d.remove(p.ID)
	if r := d.cli(t, "image", "rm", digest(image)); r.code != 0 {
		t.Errorf("rm: %s", r)
	}
}

// An image may hold what an archive may not: setuid programs, capabilities of files,
// devices, links to anywhere. None of it gives its app a right, and nothing is mounted
// through a link of it.
func TestFileSystemImageHostile(t *testing.T) {
	dir := t.TempDir()
	template := testbed.TemplateDir()
	for name, program := range map[string]string{"id": "usr/bin/id", "cat": "usr/bin/cat"} {
		b, err := os.ReadFile(filepath.Join(template, program))
		must(t, err)
		must(t, os.WriteFile(filepath.Join(dir, name), b, 0o755))
	}
	must(t, unix.Chmod(filepath.Join(dir, "id"), 0o6755))
	// cap_dac_override+eip, as setcap(8) writes it.
	must(t, unix.Setxattr(filepath.Join(dir, "cat"), "security.capability", []byte("\x01\x00\x00\x02\x02\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"), 0))
	for name, device := range map[string]uint64{"mem": unix.Mkdev(1, 1), "null": unix.Mkdev(1, 3)} {
		must(t, unix.Mknod(filepath.Join(dir, name), unix.S_IFCHR|0o666, int(device)))
	}
	must(t, unix.Mknod(filepath.Join(dir, "loop"), unix.S_IFBLK|0o666, int(unix.Mkdev(7, 0))))
	must(t, os.Symlink("/etc", filepath.Join(dir, "outside")))
	const tries = `exec 2>&1; ./id -u; ./cat /etc/shadow; for d in mem null loop; do head -c 1 $d; done; echo x >id; echo end`
	for _, packer := range []string{"gzip.squashfs", "plain.erofs"} {
		at := serveImages(t, map[string][]byte{"image": packFileSystem(t, packer, dir)}) + "image"
		d := serve(t, "--allow-image-fs=squashfs", "--allow-image-fs=erofs")
		p := d.run(proc.Request{Image: at, Command: proc.Shell(tries)})
		const want = "1000\n./cat: /etc/shadow: Permission denied\n" +
			"head: cannot open 'mem' for reading: Permission denied\nhead: cannot open 'null' for reading: Permission denied\nhead: cannot open 'loop' for reading: Permission denied\n" +
			"/bin/bash: line 1: id: Read-only file system\nend\n"
		if got := d.output(p.ID); got != want {
			t.Errorf("%s: got %q, want %q", packer, got, want)
		}
		p = d.run(proc.Request{Image: at, Command: proc.Shell("true"), Mounts: []proc.Mount{{Type: "tmpfs", Target: "/app/outside/x"}}})
		if p.State != proc.Fail || !strings.Contains(p.Reason, "symbolic links") {
			t.Errorf("%s: mounted through a link: %+v", packer, p)
		}
	}
}
