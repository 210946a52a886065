//go:build integration

package isolate_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/gilliam/hypervisor/integration/testbed"
	"github.com/gilliam/hypervisor/isolate"
)

// A writable bind keeps what sandboxes write, in their own ids: the next one, whose
// ids are others, reads and changes it, and the host sees the ids of the sandbox.
func TestVolume(t *testing.T) {
	dir := t.TempDir()
	must(t, os.Chmod(dir, 0o777))
	e := testbed.Engine(t)
	for n, c := range []struct{ line, want string }{
		{"echo one >/data/f; chmod 600 /data/f; stat -c '%u %g %a' /data/f", "1000 1000 600\n"},
		{"cat /data/f; echo two >>/data/f; mkdir /data/d; stat -c %U /data /data/d", "one\nroot\ngilliam\n"},
		{"cat /data/f; rm -r /data/f /data/d; ls -A /data; stat -c %a /data", "one\ntwo\n777\n"},
	} {
		s := testbed.Spec(t, isolate.IDRange{Base: ids.Base - uint32(n)<<16, Size: ids.Size}, sh(c.line)...)
		s.Binds = []isolate.Bind{{Source: dir, Target: "/data", IDMapped: true, Writable: true}}
		r, err := launch(t, e, s)
		must(t, err)
		if got, _ := r.finish(t); got != c.want {
			t.Errorf("%s: got %q, want %q", c.line, got, c.want)
		}
		if n == 1 {
			var st unix.Stat_t
			must(t, unix.Lstat(filepath.Join(dir, "f"), &st))
			if st.Uid != 1000 || st.Gid != 1000 {
				t.Errorf("on the host the file is %d:%d's", st.Uid, st.Gid)
			}
		}
	}
}

// A mount may lie in an image though nobody may write to that, whether the image has
// the folder or not. The image is not changed, and shows its own owners and modes.
func TestMountsInImage(t *testing.T) {
	image, volume := t.TempDir(), t.TempDir()
	must(t, os.Chmod(image, 0o775))
	must(t, os.Chmod(volume, 0o777))
	must(t, os.MkdirAll(filepath.Join(image, "has"), 0o755))
	must(t, os.Mkdir(filepath.Join(image, "lib"), 0o700))
	must(t, os.Chown(filepath.Join(image, "lib"), 1000, 1000))
	must(t, os.WriteFile(filepath.Join(image, "has", "covered"), nil, 0o644))
	must(t, os.WriteFile(filepath.Join(image, "file"), []byte("of the image\n"), 0o666))
	before := fingerprint(t, image)
	s := spec(t, sh(`cat /app/file; stat -c '%U %a' /app /app/lib; ls -A /app /app/lib
		for d in /app/has /app/data /app/lib/cache; do echo x >$d/x && echo "$d: wrote"; done
		for f in /app/x /app/file /app/lib/x; do echo x >$f; done 2>&1 | grep -o 'Read-only.*'; rmdir /app/data 2>&1 | grep -o 'Read-only.*'`)...)
	s.Binds = []isolate.Bind{
		{Source: volume, Target: "/app/has", IDMapped: true, Writable: true},
		{Source: volume, Target: "/app/data", IDMapped: true, Writable: true},
		{Source: image, Target: "/app", IDMapped: true},
	}
	s.Scratch = []isolate.Scratch{{Target: "/app/lib/cache", Size: 1 << 20}}
	r, err := launch(t, testbed.Engine(t), s)
	must(t, err)
	want := "of the image\nroot 775\ngilliam 700\n/app:\ndata\nfile\nhas\nlib\n\n/app/lib:\ncache\n" +
		"/app/has: wrote\n/app/data: wrote\n/app/lib/cache: wrote\n" + strings.Repeat("Read-only file system\n", 4)
	if got, _ := r.finish(t); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	if after := fingerprint(t, image); after != before {
		t.Errorf("the image changed:\n%s", after)
	}
}

// A file system in memory ends at its size, in bytes and in files, and what is in it
// counts as the sandbox's memory.
func TestScratch(t *testing.T) {
	scratch := isolate.Scratch{Target: "/scratch", Size: 2 << 20}
	try := func(line string, size, memory int64, exec bool) (string, isolate.Exit) {
		s := spec(t, sh(line)...)
		scratch.Size, scratch.Exec = size, exec
		s.Scratch, s.Limits.Memory = []isolate.Scratch{scratch}, memory
		r, err := launch(t, testbed.Engine(t), s)
		must(t, err)
		return r.finish(t)
	}
	const fill = "head -c 64M /dev/zero >/scratch/f"
	got, _ := try(fill+" 2>/dev/null; stat -c %s /scratch/f; rm /scratch/f; i=0; while : 2>/dev/null >/scratch/$i; do i=$((i+1)); done; echo $i", 2<<20, 64<<20, false)
	if got != "2097152\n511\n" { // a file for each 4 KiB, the folder itself is one
		t.Errorf("got %q", got)
	}
	if got, exit := try(fill+"; echo survived", 64<<20, 64<<20, false); !exit.OOMKilled {
		t.Errorf("64 MiB beside a program in 64 MiB: %q %+v", got, exit)
	}
	const run = "cp /bin/true /scratch/t; /scratch/t && echo ran"
	if got, _ := try(run, 1<<20, 64<<20, false); strings.Contains(got, "ran") || !strings.Contains(got, "Permission denied") {
		t.Errorf("noexec: %q", got)
	}
	if got, _ := try(run, 1<<20, 64<<20, true); got != "ran\n" {
		t.Errorf("exec: %q", got)
	}
	scratch.Target = "/tmp"
	if got, _ := try("df --output=size /tmp | tail -n 1; grep -c ' /tmp ' /proc/self/mountinfo", 1<<20, 64<<20, false); strings.TrimSpace(got) != "1024\n1" {
		t.Errorf("/tmp of one's own: %q", got)
	}
}

// A setuid program on a volume gives nothing, whoever put it there, and neither do a
// device of the host's and file capabilities.
func TestSetuidOnVolume(t *testing.T) {
	dir := t.TempDir()
	must(t, os.Chmod(dir, 0o755))
	b, err := os.ReadFile(filepath.Join(testbed.Template(t).Path, "usr/bin/id"))
	must(t, err)
	for _, name := range []string{"setuid", "capable"} {
		must(t, os.WriteFile(filepath.Join(dir, name), b, 0o755))
	}
	must(t, os.Chmod(filepath.Join(dir, "setuid"), 0o755|os.ModeSetuid|os.ModeSetgid))
	capable := []byte{1, 0, 0, 2, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 1, 0, 0, 0, 0, 0, 0} // vfs_cap_data, all permitted and effective
	must(t, unix.Setxattr(filepath.Join(dir, "capable"), "security.capability", capable, 0))
	must(t, unix.Mknod(filepath.Join(dir, "null"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))))
	s := spec(t, sh("/data/setuid -u; /data/setuid -g; /data/capable -u; (echo >/data/null) 2>&1 | grep -o 'Perm.*'")...)
	s.Binds = []isolate.Bind{{Source: dir, Target: "/data", IDMapped: true, Writable: true}}
	r, err := launch(t, testbed.Engine(t), s)
	must(t, err)
	if got, _ := r.finish(t); got != "1000\n1000\n1000\nPermission denied\n" {
		t.Errorf("got %q", got)
	}
}

// A target that is a symlink in the template, in the image or on the way makes the
// launch fail, and nothing on the host changes (CVE-2021-30465 and its kin).
func TestMountTargets(t *testing.T) {
	testbed.Leaves(t)
	canary, image := t.TempDir(), t.TempDir()
	must(t, os.Chmod(image, 0o755))
	must(t, os.Symlink(canary, filepath.Join(image, "out")))
	must(t, os.Symlink("../../../../../../.."+canary, filepath.Join(image, "up")))
	must(t, os.Symlink("/etc", filepath.Join(image, "etc")))
	must(t, os.Symlink("/proc", filepath.Join(image, "proc")))
	must(t, os.WriteFile(filepath.Join(image, "file"), nil, 0o644))
	e := testbed.Engine(t)
	for target, want := range map[string]string{
		"/app/out": "symlink", "/app/out/x": "symlink", "/app/up/x": "symlink", "/app/etc": "symlink", "/app/proc/x": "symlink",
		"/var/run": "symlink", "/var/run/x": "symlink", "/bin": "symlink", "/lib/x": "symlink",
		"/app/file": "not a directory", "/app/file/x": "not a directory", "/etc/passwd": "not a directory",
		"/srv/" + strings.Repeat("x", 256): "file name too long",
	} {
		for name, ask := range map[string]func(*isolate.Spec){
			"volume": func(s *isolate.Spec) {
				s.Binds = append(s.Binds, isolate.Bind{Source: canary, Target: target, IDMapped: true, Writable: true})
			},
			"scratch": func(s *isolate.Spec) { s.Scratch = []isolate.Scratch{{Target: target}} },
		} {
			if name == "scratch" && target != "/app/up/x" && target != "/var/run" { // the rest is as of a volume
				continue
			}
			s := spec(t, "true")
			s.Binds = []isolate.Bind{{Source: image, Target: "/app", IDMapped: true}}
			ask(&s)
			if _, err := launch(t, e, s); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s on %s: got %v, want %s", name, target, err, want)
			}
		}
	}
	if entries, err := os.ReadDir(canary); err != nil || len(entries) > 0 {
		t.Errorf("the canary holds %v, %v", entries, err)
	}
}

// What a bind shows lies within the folder that it was allowed in, by whatever
// links, and is a file or a folder of that mount.
func TestBindWithin(t *testing.T) {
	dir := t.TempDir()
	allowed, secret := filepath.Join(dir, "allowed"), filepath.Join(dir, "secret")
	must(t, os.MkdirAll(filepath.Join(allowed, "in", "deep"), 0o755))
	must(t, os.Mkdir(secret, 0o755))
	must(t, os.WriteFile(filepath.Join(secret, "file"), []byte("secret\n"), 0o644))
	must(t, os.WriteFile(filepath.Join(allowed, "in", "file"), []byte("shown\n"), 0o644))
	must(t, os.WriteFile(filepath.Join(allowed, "in", "private"), []byte("root's\n"), 0o600))
	must(t, os.Symlink("in", filepath.Join(allowed, "link")))
	must(t, os.Symlink("../secret", filepath.Join(allowed, "up")))
	must(t, os.Symlink(secret, filepath.Join(allowed, "absolute")))
	must(t, os.Symlink("/proc/1/root", filepath.Join(allowed, "magic")))
	must(t, unix.Mkfifo(filepath.Join(allowed, "fifo"), 0o666))
	must(t, unix.Mknod(filepath.Join(allowed, "null"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))))
	e := testbed.Engine(t)
	show := func(source string) (string, error) {
		s := spec(t, sh("cat /srv/shown/file /srv/shown/private; touch /srv/shown/x 2>&1 | grep -o 'Read.*'")...)
		s.Binds = []isolate.Bind{{Source: filepath.Join(allowed, source), Within: allowed, Target: "/srv/shown"}}
		r, err := launch(t, e, s)
		if err != nil {
			return "", err
		}
		text, _ := r.finish(t)
		return text, nil
	}
	for _, source := range []string{"in", "link"} {
		// What only root may read on the host, an app may not.
		if got, err := show(source); err != nil || got != "shown\ncat: /srv/shown/private: Permission denied\nRead-only file system\n" {
			t.Errorf("%s: %q %v", source, got, err)
		}
	}
	for source, want := range map[string]error{
		"up": syscall.EXDEV, "absolute": syscall.EXDEV, "magic": syscall.EXDEV, "none": syscall.ENOENT, "in/file/x": syscall.ENOTDIR,
	} {
		if _, err := show(source); err == nil || !strings.Contains(err.Error(), want.Error()) {
			t.Errorf("%s: got %v, want %v", source, err, want)
		}
	}
	for _, source := range []string{"fifo", "null"} {
		if _, err := show(source); err == nil || !strings.Contains(err.Error(), "neither a file nor a folder") {
			t.Errorf("%s: got %v", source, err)
		}
	}
}

// R30: while a source is exchanged for a link that leads out, as fast as it can be,
// a launch shows what is within or fails; never anything else.
func TestBindRace(t *testing.T) {
	dir := t.TempDir()
	allowed, secret := filepath.Join(dir, "allowed"), filepath.Join(dir, "secret")
	for _, d := range []string{allowed, secret, filepath.Join(allowed, "a"), filepath.Join(allowed, "a", "b"), filepath.Join(secret, "b")} {
		must(t, os.Mkdir(d, 0o755))
	}
	must(t, os.WriteFile(filepath.Join(allowed, "a", "b", "file"), []byte("shown\n"), 0o644))
	must(t, os.WriteFile(filepath.Join(secret, "b", "file"), []byte("secret\n"), 0o644))
	must(t, os.Symlink("../secret", filepath.Join(allowed, "link")))
	done := make(chan struct{})
	var swapping sync.WaitGroup
	swapping.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
			}
			if err := unix.Renameat2(unix.AT_FDCWD, filepath.Join(allowed, "a"), unix.AT_FDCWD, filepath.Join(allowed, "link"), unix.RENAME_EXCHANGE); err != nil {
				t.Errorf("exchange: %v", err)
				return
			}
		}
	})
	e := testbed.Engine(t)
	outcomes := map[string]int{}
	for n := 0; n < 60 && (n < 16 || len(outcomes) < 2); n++ {
		s := spec(t, "cat", "/srv/b/file")
		s.Binds = []isolate.Bind{{Source: filepath.Join(allowed, "a", "b"), Within: allowed, Target: "/srv/b"}}
		plan, err := isolate.NewPlan(s, e.Host())
		must(t, err)
		box, out, err := testbed.Launch(t, e, plan)
		if err != nil {
			outcomes["refused"]++
			if !strings.Contains(err.Error(), syscall.EXDEV.Error()) {
				t.Errorf("got %v", err)
			}
			continue
		}
		text, exit := (&running{Sandbox: box, out: out}).finish(t)
		outcomes[fmt.Sprintf("%d %s", exit.Code, text)]++
		must(t, box.Destroy())
		out.Close()
	}
	close(done)
	swapping.Wait()
	if outcomes["refused"] == 0 || outcomes["0 shown\n"] == 0 || len(outcomes) != 2 {
		t.Errorf("got %v, want some refused and some shown", outcomes)
	}
}
