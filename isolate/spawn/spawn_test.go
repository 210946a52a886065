//go:build integration

package spawn_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/gilliam/hypervisor/integration/testbed"
	"github.com/gilliam/hypervisor/isolate/spawn"
)

func TestMain(m *testing.M) { testbed.Main(m) }

var ids = spawn.IDs{Base: 0x7fd10000, Size: 65536}

// open opens a program of the host's.
func open(tb testing.TB, path string) *os.File {
	tb.Helper()
	f, err := os.Open(path)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { f.Close() })
	return f
}

// run starts a program on a thread of its own and returns its output and how it
// ended.
func run(p spawn.Program) (string, *os.ProcessState, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return "", nil, err
	}
	defer r.Close()
	p.Files = append(p.Files, w)
	var process *os.Process
	err = testbed.OnThread(func() (err error) {
		process, err = spawn.Start(p)
		return err
	})
	w.Close()
	if err != nil {
		return "", nil, err
	}
	out, err := io.ReadAll(r)
	if err != nil {
		return "", nil, err
	}
	state, err := process.Wait()
	return string(out), state, err
}

// shell is a program that runs a script in a user namespace and a pid namespace.
func shell(tb testing.TB, script string) spawn.Program {
	return spawn.Program{
		Executable: open(tb, "/bin/sh"), Args: []string{"sh", "-c", script}, Env: []string{"PATH=/usr/bin:/bin", "A=b c"},
		Files:      []*os.File{open(tb, os.DevNull)},
		Namespaces: unix.CLONE_NEWUSER | unix.CLONE_NEWPID, IDs: ids,
	}
}

func TestStart(t *testing.T) {
	inherited, err := unix.Dup(int(open(t, os.DevNull).Fd())) // not close-on-exec
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(inherited)
	signal.Ignore(syscall.SIGUSR2)
	defer signal.Reset(syscall.SIGUSR2)
	// The host's procfs: what it says of the child is what the host sees.
	p := shell(t, `
		echo "$$ $A $(ulimit -n)"
		cat /proc/self/uid_map /proc/self/gid_map
		grep -E '^(Uid|Gid|Groups|NSpid|NSsid|SigPnd|SigBlk|SigIgn|CapEff|Threads):' /proc/self/status
		ls /proc/self/fd
		exit 7`)
	p.OpenFiles = 64
	out, state, err := run(p)
	if err != nil {
		t.Fatal(err)
	}
	if state.ExitCode() != 7 {
		t.Errorf("ended with %v", state)
	}
	said := strings.Join(strings.Fields(out), " ")
	for _, want := range []string{
		"1 b c 64", // PID 1, its environment and its limit
		fmt.Sprintf("0 %d 65536 0 %[1]d 65536", ids.Base),
		"Uid: 0 0 0 0 Gid: 0 0 0 0 Groups: NSpid:",                           // as the child sees itself
		"SigPnd: 0000000000000000 SigBlk: 0000000000000000 SigIgn: 00000000", // handlers reset, nothing blocked
		"0000800 CapEff:", // ignored still: SIGUSR2; libc and who starts us may ignore signals of their own above
	} {
		if !strings.Contains(said, want) {
			t.Errorf("no %q in %s", want, said)
		}
	}
	// Nothing beyond its files is open but what ls reads and, it has no stderr, writes to.
	if !strings.HasSuffix(said, " 0 1 2") {
		t.Errorf("open: %s", said)
	}
	if strings.Contains(said, "CapEff: 0000000000000000") {
		t.Errorf("no capabilities: %s", said)
	}
}

// What the child does until it executes must not show in this process, whose
// memory it shares.
func TestStartLeavesNothing(t *testing.T) {
	before := status(t)
	for range 20 {
		if _, _, err := run(shell(t, "exit 0")); err != nil {
			t.Fatal(err)
		}
	}
	if after := status(t); after != before {
		t.Errorf("before: %s\nafter: %s", before, after)
	}
	if d, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0); d != 1 || err != nil {
		t.Errorf("dumpable: %d, %v", d, err)
	}
}

// status is what the kernel says of this process's identity and signals.
func status(t *testing.T) string {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	text, err := os.ReadFile("/proc/thread-self/status")
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for line := range strings.Lines(string(text)) {
		switch name, _, _ := strings.Cut(line, ":"); name {
		case "Uid", "Gid", "Groups", "SigBlk", "SigIgn", "SigCgt", "CapEff", "CapPrm", "FDSize":
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	return strings.Join(lines, " ")
}

func TestStartFails(t *testing.T) {
	folder := open(t, "/")
	for name, c := range map[string]struct {
		spoil func(*spawn.Program)
		call  string
		want  error
	}{
		"not executable":  {func(p *spawn.Program) { p.Executable = open(t, "/etc/passwd") }, "execveat", syscall.EACCES},
		"a folder":        {func(p *spawn.Program) { p.Executable = folder }, "execveat", syscall.EACCES},
		"too many args":   {func(p *spawn.Program) { p.Args = []string{strings.Repeat("x", 1<<20)} }, "execveat", syscall.E2BIG},
		"a NUL":           {func(p *spawn.Program) { p.Args = []string{"a\x00b"} }, "arguments", syscall.EINVAL},
		"no ids":          {func(p *spawn.Program) { p.IDs.Size = 0 }, "gid_map", syscall.EINVAL},
		"no such flags":   {func(p *spawn.Program) { p.Namespaces = unix.CLONE_NEWUSER | unix.CLONE_FS }, "clone3", syscall.EINVAL},
		"no cgroup":       {func(p *spawn.Program) { p.Cgroup = folder }, "clone3", syscall.EBADF},
		"no new user ns":  {func(p *spawn.Program) { p.Namespaces = unix.CLONE_NEWPID }, "gid_map", syscall.EPERM},
		"a closed stdout": {func(p *spawn.Program) { p.Files[0] = closed(t) }, "dup3", syscall.EBADF},
	} {
		t.Run(name, func(t *testing.T) {
			p := shell(t, "exit 0")
			c.spoil(&p)
			_, _, err := run(p)
			if !errors.Is(err, c.want) || !strings.Contains(fmt.Sprint(err), c.call) {
				t.Errorf("got %v, want %s: %v", err, c.call, c.want)
			}
		})
	}
	if _, err := unix.Wait4(-1, nil, unix.WNOHANG, nil); err != unix.ECHILD {
		t.Errorf("a child is left: %v", err)
	}
}

func closed(t *testing.T) *os.File {
	f := open(t, os.DevNull)
	f.Close()
	return f
}

// The descriptors that the child fills may be those that it is given.
func TestLowDescriptors(t *testing.T) {
	p := shell(t, "cat <&3")
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	fmt.Fprint(w, "through")
	w.Close()
	p.Files = []*os.File{os.Stderr, nil, os.Stdin, r}
	out, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	p.Files[1] = w
	var process *os.Process
	if err := testbed.OnThread(func() (err error) { process, err = spawn.Start(p); return err }); err != nil {
		t.Fatal(err)
	}
	w.Close()
	if text, err := io.ReadAll(out); err != nil || string(text) != "through" {
		t.Errorf("got %q, %v", text, err)
	}
	if state, err := process.Wait(); err != nil || !state.Success() {
		t.Errorf("%v, %v", state, err)
	}
}

// Children share memory with goroutines that go on, allocate and collect garbage.
func TestManyAtOnce(t *testing.T) {
	stop := make(chan struct{})
	var others, all sync.WaitGroup
	for range 2 {
		others.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					_ = make([]byte, 1<<20)
					runtime.GC()
				}
			}
		})
	}
	for n := range 8 {
		all.Go(func() {
			for i := range 10 {
				want := fmt.Sprintf("%d %d", n, i)
				out, state, err := run(shell(t, "echo "+want))
				if err != nil || !state.Success() || strings.TrimSpace(out) != want {
					t.Errorf("%s: %q, %v, %v", want, out, state, err)
				}
			}
		})
	}
	all.Wait()
	close(stop)
	others.Wait()
}

func TestUserNamespace(t *testing.T) {
	ns, err := spawn.UserNamespace(ids)
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	// A mount can be idmapped to it, which needs ids in it.
	tree, err := unix.OpenTree(unix.AT_FDCWD, testbed.TemplateDir(), unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(tree)
	attr := &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_IDMAP, Userns_fd: uint64(ns.Fd())}
	if err := unix.MountSetattr(tree, "", unix.AT_EMPTY_PATH, attr); err != nil {
		t.Fatal(err)
	}
	var st unix.Stat_t
	if err := unix.Fstatat(tree, "bin/sh", &st, 0); err != nil || st.Uid != ids.Base {
		t.Errorf("uid %d, %v", st.Uid, err)
	}
	if _, err := unix.Wait4(-1, nil, unix.WNOHANG, nil); err != unix.ECHILD {
		t.Errorf("a child is left: %v", err)
	}
	if ns, err := spawn.UserNamespace(spawn.IDs{Base: 1}); err == nil || ns != nil {
		t.Errorf("no ids: %v, %v", ns, err)
	}
}

// BenchmarkStart and BenchmarkOS start the same child from a process with much
// memory in use.
func BenchmarkStart(b *testing.B) {
	p := shell(b, "")
	p.Executable, p.Args = open(b, "/bin/true"), []string{"true"}
	benchmark(b, func() (*os.Process, error) { return spawn.Start(p) })
}

func BenchmarkOS(b *testing.B) {
	null := open(b, os.DevNull)
	mapping := []syscall.SysProcIDMap{{HostID: int(ids.Base), Size: int(ids.Size)}}
	benchmark(b, func() (*os.Process, error) {
		return os.StartProcess("/bin/true", []string{"true"}, &os.ProcAttr{
			Files: []*os.File{null}, Env: []string{},
			Sys: &syscall.SysProcAttr{
				Cloneflags: unix.CLONE_NEWUSER | unix.CLONE_NEWPID, UidMappings: mapping, GidMappings: mapping,
				GidMappingsEnableSetgroups: true, Credential: &syscall.Credential{}, Setsid: true,
			},
		})
	})
}

func benchmark(b *testing.B, start func() (*os.Process, error)) {
	for _, size := range []int{0, 30, 200} {
		b.Run(fmt.Sprintf("%dMiB", size), func(b *testing.B) {
			ballast := make([]byte, size<<20)
			for i := 0; i < len(ballast); i += os.Getpagesize() {
				ballast[i] = 1
			}
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			for b.Loop() {
				process, err := start()
				if err != nil {
					b.Fatal(err)
				}
				if state, err := process.Wait(); err != nil || !state.Success() {
					b.Fatal(state, err)
				}
			}
			runtime.KeepAlive(ballast)
		})
	}
}
