//go:build integration

package attack

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/gilliam/hypervisor/integration/testbed"
	"github.com/gilliam/hypervisor/isolate"
	"github.com/gilliam/hypervisor/isolate/initbin"
	"github.com/gilliam/hypervisor/isolate/selftest/attacks"
)

// T10: no program of the host can be written to, or even held, through /proc.
// Where PID 1's links can be followed it is a bug of the kernel; that such a
// link would suffice is shown by the probe's own victim.
func TestOverwrite(t *testing.T) {
	got := once(t, spec(t, "overwrite"))
	verdict := attacks.Overwrite.Judge(got)
	for _, wrong := range verdict.Wrong {
		t.Error(wrong)
	}
	t.Logf("T10 overwrite: %s, %d tries; control: its own victim", got.Result, len(verdict.Tries))
}

// T10: should PID 1's executable be opened after all, it is sealed: not even the
// host's root can write to it, while it runs or after. Control: the same memfd
// without seals.
func TestSeals(t *testing.T) {
	e := testbed.Engine(t)
	b := start(t, e, spec(t, "sleep"))
	b.report(t)
	exe := fmt.Sprintf("/proc/%d/exe", b.PID())
	if err := overwrite(exe); !errors.Is(err, unix.ETXTBSY) {
		t.Errorf("while it runs: %v", err)
	}
	fd, err := unix.Open(exe, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	b.end(t)
	held := fmt.Sprintf("/proc/self/fd/%d", fd)
	if err := overwrite(held); !errors.Is(err, unix.EPERM) {
		t.Errorf("when it has ended: %v", err)
	}
	now, err := os.ReadFile(held)
	if err != nil || !bytes.Equal(now, initbin.Binary) {
		t.Errorf("sandbox-init is not what it was, %v", err)
	}

	plain, err := unix.MemfdCreate("control", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(plain)
	if _, err := unix.Write(plain, []byte("control")); err != nil {
		t.Fatal(err)
	}
	if err := overwrite(fmt.Sprintf("/proc/self/fd/%d", plain)); err != nil {
		t.Errorf("control: %v", err)
	}
}

// overwrite writes to a file, and cuts it.
func overwrite(path string) error {
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if _, err := unix.Write(fd, []byte("x")); err != nil {
		return err
	}
	return unix.Ftruncate(fd, 0)
}

// T2, T10: what an app may name as its program or working directory leads to no
// program and no folder of the host's. Those that start are the tenant's own.
func TestCommands(t *testing.T) {
	testbed.Leaves(t)
	e := testbed.Engine(t)
	for _, program := range []string{
		"/proc/self/exe", "/proc/1/exe", "/proc/self/fd/3", "/proc/1/root/bin/sh", "/proc/self/root/bin/sh", "/proc", "//proc/self/exe",
		"/app/../proc/self/exe", "/dev/fd/3", "/dev/fd/0", "/dev/stdin", "/dev/fd/../exe", "/dev/fd/../root/bin/sh", "/dev/fd/../cwd/bin/sh",
		"/app/link-exe", "/app/link-fd", "/app/link-root", "/app/link-dev", "../../../../../../proc/self/exe", "link-exe",
		"/app/link-loop", "/app/fifo", "/app/socket", "/app", "/dev/null", "/dev/shm", "/etc/passwd",
	} {
		s := spec(t)
		s.Args = []string{program}
		b, err := try(t, e, traps(t, s))
		var exec *isolate.ExecError
		if err == nil {
			t.Errorf("%s: starts, and ends with %+v", program, b.ended(t, deadline))
		} else if !errors.Is(err, isolate.ErrInvalid) && !errors.As(err, &exec) {
			t.Errorf("%s: %v", program, err)
		}
	}
	for _, dir := range []string{
		"/proc/self/fd/7", "/proc/1/cwd", "/dev/fd/0", "/dev/fd/1", "/dev/fd/2", "/dev/fd/3", "/dev/fd/4", "/dev/fd/5", "/dev/fd/6", "/dev/fd/7",
		"/dev/fd/8", "/dev/fd/9", "/dev/fd/10", "/app/link-fd", "/app/link-exe", "/app/link-root", "/app/link-dev", "/app/link-cwd", "/app/link-loop",
	} {
		s := traps(t, spec(t, "escape", "/var/lib/gilliam"))
		s.Dir = dir
		b, err := try(t, e, s)
		if err != nil {
			continue // refused, or not a folder
		}
		r := b.report(t)
		for name, outcome := range r.Detail {
			if outcome == "ok" {
				t.Errorf("in %s: %s works", dir, name)
			}
		}
		b.end(t)
	}
	// The control: the same program and folder by their plain names.
	s := traps(t, spec(t, "descriptors"))
	s.Dir = "/app"
	if got := once(t, s); got.Detail["cwd"] != "/app" {
		t.Errorf("control: %v", got)
	}
}

// traps is an image of links and oddities beside the probe.
func traps(t *testing.T, s isolate.Spec) isolate.Spec {
	t.Helper()
	dir := filepath.Join(tools, "traps")
	if _, err := os.Stat(dir); err == nil {
		s.Binds = []isolate.Bind{{Source: dir, Target: "/app", IDMapped: true}}
		return s
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Link(filepath.Join(tools, "probe"), filepath.Join(dir, "probe")); err != nil {
		t.Fatal(err)
	}
	for name, to := range map[string]string{
		"link-exe": "/proc/self/exe", "link-fd": "/proc/self/fd/3", "link-root": "/proc/1/root/bin/sh", "link-dev": "/dev/fd/5",
		"link-cwd": "/proc/1/cwd", "link-loop": "link-loop",
	} {
		if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	for name, kind := range map[string]uint32{"fifo": unix.S_IFIFO, "socket": unix.S_IFSOCK} {
		if err := unix.Mknod(filepath.Join(dir, name), kind|0o777, 0); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(filepath.Join(dir, name), 0o777); err != nil {
			t.Fatal(err)
		}
	}
	return traps(t, s)
}

// T10: files that make the kernel execute something else. What an app starts by
// them is refused or comes to be sandbox-init, which does nothing when it is not
// PID 1; its executable stays what it is.
func TestFormats(t *testing.T) {
	testbed.Leaves(t)
	dir := filepath.Join(tools, "formats")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	probe, err := os.ReadFile(filepath.Join(tools, "probe"))
	if err != nil {
		t.Fatal(err)
	}
	arm := bytes.Clone(probe)
	arm[18] = 0xb7 // e_machine: AArch64
	e := testbed.Engine(t)
	paths := []string{"executables"}
	for name, f := range map[string]struct {
		text, want string
	}{
		"empty":         {"", "exec format error"},
		"no-shebang":    {"echo hello\n", "exec format error"},
		"binary":        {"\x00\x01\x02\x03", "exec format error"},
		"truncated":     {string(probe[:100]), "exec format error|input/output error|signal 11"},
		"other-machine": {string(arm), "exec format error"},
		"shebang-empty": {"#!\n", "exec format error"},
		"shebang-self":  {"#!/app/formats/shebang-self\n", "too many levels of symbolic links"},
		"shebang-gone":  {"#!/no/such/interpreter\n", "no such file or directory"},
		"shebang-dir":   {"#!/app\n", "permission denied"},
		"shebang-null":  {"#!/dev/null\n", "permission denied"},
		"shebang-fd":    {"#!/proc/self/fd/3\n", "no such file or directory|permission denied"},
		"shebang-dev":   {"#!/dev/fd/3\n", "no such file or directory|permission denied"},
		"shebang-one":   {"#!/proc/1/exe\n", "permission denied"},
		"shebang-root":  {"#!/proc/1/root/bin/sh\n", "permission denied"},
		"shebang-exe":   {"#!/proc/self/exe\n", "exit 3"}, // "does nothing when run by hand"
		"shebang-probe": {"#!/app/probe descriptors\n", "exit 2|exit 0"},
	} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(f.text), 0o755); err != nil {
			t.Fatal(err)
		}
		paths = append(paths, "/app/formats/"+name)
		s := spec(t)
		s.Args = []string{"/app/formats/" + name}
		got := outcome(t, e, s)
		ok := false
		for want := range strings.SplitSeq(f.want, "|") {
			ok = ok || strings.Contains(got, want)
		}
		if !ok {
			t.Errorf("%s: %s, want %s", name, got, f.want)
		}
	}
	// The same by a program that runs already.
	if got := once(t, spec(t, paths...)); strings.Contains(got.Detail["/app/formats/shebang-one"], "exit") {
		t.Errorf("%v", got)
	}
}

// outcome is how the start or the end of a program reads.
func outcome(t *testing.T, e *isolate.Engine, s isolate.Spec) string {
	t.Helper()
	b, err := try(t, e, s)
	if err != nil {
		return err.Error()
	}
	defer b.end(t)
	exit := b.ended(t, deadline)
	if exit.Signal != 0 {
		return fmt.Sprintf("signal %d", exit.Signal)
	}
	return fmt.Sprintf("exit %d", exit.Code)
}
