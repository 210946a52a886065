package selftest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/gilliam/hypervisor/isolate"
	"github.com/gilliam/hypervisor/isolate/selftest/attacks"
)

// neighbourChecks are about other sandboxes and processes, further commands, and
// the end.
func neighbourChecks() []check {
	return []check{
		{name: "processes", promise: "processes outside cannot be seen, signalled, traced or told from none", run: processes},
		{name: "neighbour", promise: "another sandbox has other ids and namespaces; its IPC and its files are out of reach", run: neighbour},
		{name: "command", promise: "a further command in the sandbox is no freer than its program", run: command},
		{name: "kill", promise: "what ignores every signal, stops, orphans itself and forks for ever is gone when it is killed", run: kill},
	}
}

// processes has a sandbox attack another one's and this process.
func processes(ctx context.Context, b *bench) (f finding) {
	other, err := b.start(ctx, b.spec(1, "sleep"))
	if err != nil {
		return broken(err)
	}
	defer other.endWith(&f)
	if _, err := other.report(ctx); err != nil {
		return broken(err)
	}
	var pids []string
	for _, pid := range []int{other.PID(), os.Getpid(), os.Getppid()} {
		if pid > 64 { // else it could be a number of the sandbox's own
			pids = append(pids, strconv.Itoa(pid))
		}
	}
	r, err := b.attack(ctx, append([]string{"aliens"}, pids...)...)
	return judge(attacks.Aliens(pids), r, err)
}

// meeting names the IPC of the neighbour.
const meeting = 0x73656c66

// neighbour has one sandbox offer to everyone what it can, and another look for it.
func neighbour(ctx context.Context, b *bench) (f finding) {
	const theirs = "/var/tmp/theirs"
	other, err := b.start(ctx, b.spec(1, "private-ipc", strconv.Itoa(meeting)))
	if err != nil {
		return broken(err)
	}
	defer other.endWith(&f)
	if _, err := other.report(ctx); err != nil {
		return broken(err)
	}
	if r, err := other.execute(ctx, "write", theirs); err != nil || r.Detail[theirs] != "ok" {
		return broken(fmt.Errorf("the neighbour writes a file: %v, %w", r.Detail, err))
	}
	x, err := b.start(ctx, b.spec(0, "sleep"))
	if err != nil {
		return broken(err)
	}
	defer x.endWith(&f)
	if _, err := x.report(ctx); err != nil {
		return broken(err)
	}
	r, err := x.execute(ctx, "ipc", strconv.Itoa(meeting))
	f = judge(attacks.IPC, r, err)
	r, err = x.execute(ctx, "open", theirs)
	f = f.and(judge(attacks.Expectation{Errno: "ENOENT"}, r, err))
	return f.and(finding{wrong: shared(x.PID(), other.PID())})
}

// shared is what two sandboxes should not have together, by their PID 1.
func shared(one, other int) []string {
	var wrong []string
	compare := func(what string, read func(dir string) (string, error)) {
		a, err1 := read(filepath.Join("/proc", strconv.Itoa(one)))
		b, err2 := read(filepath.Join("/proc", strconv.Itoa(other)))
		if err := errors.Join(err1, err2); err != nil {
			wrong = append(wrong, err.Error())
		} else if a == b {
			wrong = append(wrong, fmt.Sprintf("both have the %s %s", what, a))
		}
	}
	for _, name := range []string{"uid_map", "gid_map"} {
		compare(name, func(dir string) (string, error) {
			text, err := os.ReadFile(filepath.Join(dir, name))
			return strings.Join(strings.Fields(string(text)), " "), err
		})
	}
	for _, name := range namespaceNames {
		compare("namespace", func(dir string) (string, error) { return os.Readlink(filepath.Join(dir, "ns", name)) })
	}
	return wrong
}

// command makes attacks by commands that are executed in a sandbox.
func command(ctx context.Context, b *bench) (f finding) {
	x, err := b.start(ctx, b.spec(0, "sleep"))
	if err != nil {
		return broken(err)
	}
	defer x.endWith(&f)
	if _, err := x.report(ctx); err != nil {
		return broken(err)
	}
	for _, a := range []struct {
		name string
		want attacks.Expectation
	}{
		{"privileges", attacks.Privileges(user.UID, user.GID)},
		{"calls", attacks.SystemCalls},
		{"namespaces", attacks.Namespaces},
		{"descriptors", attacks.Descriptors.With(map[string]string{"cwd": "/"})},
		{"trace", attacks.Trace},
	} {
		r, err := x.execute(ctx, a.name)
		g := judge(a.want, r, err)
		for i, text := range g.wrong {
			g.wrong[i] = a.name + ": " + text
		}
		f = f.and(g)
	}
	return f
}

// execute makes an attack by a further command in the sandbox.
func (x *box) execute(ctx context.Context, args ...string) (r attacks.Report, err error) {
	if x.b.bare != nil {
		return x.b.bare(ctx, args)
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		return r, err
	}
	defer null.Close()
	pipe, w, err := os.Pipe()
	if err != nil {
		return r, err
	}
	defer pipe.Close()
	_, err = x.Exec(ctx, isolate.Command{Args: append([]string{probePath}, args...), Stdin: null, Stdout: w, Stderr: w})
	w.Close()
	if err != nil {
		return r, err
	}
	return readReport(ctx, pipe, bufio.NewReader(pipe))
}

// kill asks a program to end that does not want to, and then does not ask.
func kill(ctx context.Context, b *bench) (f finding) {
	x, err := b.start(ctx, b.spec(0, "stubborn"))
	if err != nil {
		return broken(err)
	}
	_, err = x.report(ctx)
	if err == nil {
		err = x.Signal(syscall.SIGTERM)
	}
	if err == nil {
		_, err = x.report(ctx) // that it was asked
	}
	x.Kill()
	_, late := x.ended(ctx)
	if err = errors.Join(err, late, x.end()); err != nil {
		return broken(err)
	}
	return finding{wrong: left([]string{x.ID()}, "")}
}
