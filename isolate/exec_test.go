//go:build integration

package isolate_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/gilliam/hypervisor/integration/testbed"
	"github.com/gilliam/hypervisor/isolate"
)

// sleeper is a sandbox whose program does nothing until it is told to end.
func sleeper(t *testing.T) *running {
	t.Helper()
	r, err := launch(t, testbed.Engine(t), spec(t, sh("echo up; sleep 1000")...))
	if err != nil {
		t.Fatal(err)
	}
	r.line(t)
	return r
}

// command runs a shell line as a further command to its end.
func command(t *testing.T, r *running, stdin, line string) (string, isolate.Exit) {
	t.Helper()
	inR, inW, err := os.Pipe()
	must(t, err)
	outR, outW, err := os.Pipe()
	must(t, err)
	defer outR.Close()
	x, err := r.Exec(t.Context(), isolate.Command{Args: sh(line), Stdin: inR, Stdout: outW, Stderr: outW})
	inR.Close()
	outW.Close()
	if err != nil {
		inW.Close()
		t.Fatal(err)
	}
	if _, err := io.WriteString(inW, stdin); err != nil {
		t.Fatal(err)
	}
	inW.Close()
	text, err := io.ReadAll(outR)
	must(t, err)
	return string(text), x.Wait()
}

func TestExec(t *testing.T) {
	r := sleeper(t)
	text, exit := command(t, r, "hello", "cat; echo; echo err >&2; pwd; exit 5")
	if text != "hello\nerr\n/app\n" || exit.Code != 5 || exit.Err != nil || exit.At.IsZero() {
		t.Errorf("%q %+v", text, exit)
	}
	if _, exit := command(t, r, "", "kill -9 $$"); exit.Signal != 9 || exit.Code != 137 {
		t.Errorf("%+v", exit)
	}
}

// A command has what the program has, and no more.
func TestExecIsConfinedAlike(t *testing.T) {
	r := sleeper(t)
	const look = `grep -E '^(Uid|Gid|Groups|Cap|NoNewPrivs|Seccomp|Umask)' /proc/self/status; cat /proc/self/cgroup /proc/self/limits
		for n in cgroup ipc mnt net pid user uts; do readlink /proc/self/ns/$n; done; ls /proc/self/fd | wc -l; cat /proc/self/oom_score_adj; env | grep -v ^_= | sort`
	own := output(t, look)
	text, exit := command(t, r, "", look)
	if exit.Code != 0 {
		t.Fatalf("%+v %s", exit, text)
	}
	// The two sandboxes' namespaces are different ones.
	strip := func(s string) string {
		var b strings.Builder
		for line := range strings.Lines(s) {
			if name, _, ok := strings.Cut(line, ":["); ok {
				line = name + "\n"
			}
			b.WriteString(line)
		}
		return b.String()
	}
	if strip(text) != strip(own) {
		t.Errorf("a command sees\n%s\nthe program\n%s", text, own)
	}
	// It is in the program's own namespaces and cgroup.
	text, _ = command(t, r, "", "ps -e -o comm= | sort | uniq; for n in cgroup ipc mnt net pid user uts; do readlink /proc/self/ns/$n; done")
	for _, want := range []string{"sandbox-init\n", "sleep\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in %s", want, text)
		}
	}
	pids, err := os.ReadFile(cgroupFile(t, r.ID(), "pids", "pids.current"))
	must(t, err)
	_, exit = command(t, r, "", "sleep 1000 >/dev/null 2>&1 & exit 0")
	more, err := os.ReadFile(cgroupFile(t, r.ID(), "pids", "pids.current"))
	must(t, err)
	if string(more) == string(pids) {
		t.Errorf("an orphan of a command is not in the cgroup: %s, %s; %+v", pids, more, exit)
	}
}

func TestExecErrors(t *testing.T) {
	r := sleeper(t)
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	must(t, err)
	defer null.Close()
	for name, code := range map[string]int{"/no/such": 127, "nonesuch": 127, "/etc/passwd": 126, "./relative": 127} {
		_, err := r.Exec(t.Context(), isolate.Command{Args: []string{name}, Stdin: null, Stdout: null, Stderr: null})
		var exec *isolate.ExecError
		if !errors.As(err, &exec) || exec.Code() != code {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, c := range []isolate.Command{
		{}, {Args: []string{"true"}}, {Args: []string{"/proc/self/exe"}, Stdin: null, Stdout: null, Stderr: null},
		{Args: []string{"true"}, Dir: "/proc/1", Terminal: &isolate.Size{}}, {Args: []string{"a\x00"}, Terminal: &isolate.Size{}},
	} {
		if _, err := r.Exec(t.Context(), c); !errors.Is(err, isolate.ErrInvalid) {
			t.Errorf("%+v: %v", c, err)
		}
	}
	if _, exit := command(t, r, "", "true"); exit.Code != 0 {
		t.Errorf("afterwards: %+v", exit)
	}
}

func TestExecSignal(t *testing.T) {
	r := sleeper(t)
	out, w, err := os.Pipe()
	must(t, err)
	defer out.Close()
	null, err := os.Open(os.DevNull)
	must(t, err)
	defer null.Close()
	x, err := r.Exec(t.Context(), isolate.Command{
		Args: sh("trap 'echo got; exit 9' USR1; echo up; while :; do sleep 1000 & wait; done"), Stdin: null, Stdout: w, Stderr: w,
	})
	w.Close()
	must(t, err)
	lines := bufio.NewScanner(out)
	lines.Scan()
	must(t, x.Signal(syscall.SIGUSR1))
	lines.Scan()
	if exit := x.Wait(); lines.Text() != "got" || exit.Code != 9 {
		t.Errorf("%q %+v", lines.Text(), exit)
	}
	if err := x.Signal(syscall.SIGUSR1); !errors.Is(err, isolate.ErrEnded) {
		t.Errorf("after its end: %v", err)
	}
}

func TestExecTerminal(t *testing.T) {
	r := sleeper(t)
	x, err := r.Exec(t.Context(), isolate.Command{
		Args: sh(`tty; stty size; stat -c '%U %a' $(tty); echo x >/dev/tty; read line; stty size; echo "<$line>"; sleep 1000`), Terminal: &isolate.Size{Rows: 24, Cols: 80},
	})
	must(t, err)
	defer x.Terminal().Close()
	lines := bufio.NewScanner(x.Terminal())
	expect := func(want string) {
		t.Helper()
		if !lines.Scan() || strings.TrimRight(lines.Text(), "\r") != want {
			t.Fatalf("got %q, want %q (%v)", lines.Text(), want, lines.Err())
		}
	}
	expect("/dev/pts/0")
	expect("24 80")
	expect("gilliam 620")
	expect("x")
	must(t, x.Resize(isolate.Size{Rows: 40, Cols: 132}))
	_, err = io.WriteString(x.Terminal(), "hi\n")
	must(t, err)
	expect("hi") // the echo
	expect("40 132")
	expect("<hi>")
	_, err = io.WriteString(x.Terminal(), "\x03") // Ctrl-C
	must(t, err)
	if exit := x.Wait(); exit.Signal != int(syscall.SIGINT) && exit.Code != 130 {
		t.Errorf("%+v", exit)
	}
}

// Commands end with the sandbox.
func TestExecEndsWithTheSandbox(t *testing.T) {
	testbed.Leaves(t)
	r := sleeper(t)
	x, err := r.Exec(t.Context(), isolate.Command{Args: sh("trap '' TERM HUP; sleep 1000"), Terminal: &isolate.Size{Rows: 1, Cols: 1}})
	must(t, err)
	defer x.Terminal().Close()
	must(t, r.Signal(syscall.SIGKILL))
	if exit := x.Wait(); !errors.Is(exit.Err, isolate.ErrEnded) {
		t.Errorf("%+v", exit)
	}
	r.Wait()
	if _, err := r.Exec(t.Context(), isolate.Command{Args: sh("true"), Terminal: &isolate.Size{}}); err == nil {
		t.Error("executed in a sandbox that has ended")
	}
}

func TestExecManyAtOnce(t *testing.T) {
	r := sleeper(t)
	var all sync.WaitGroup
	for n := range 30 {
		all.Go(func() {
			text, exit := command(t, r, fmt.Sprint(n), fmt.Sprintf("cat; exit %d", n))
			if text != fmt.Sprint(n) || exit.Code != n {
				t.Errorf("%d: %q %+v", n, text, exit)
			}
		})
	}
	all.Wait()
}
