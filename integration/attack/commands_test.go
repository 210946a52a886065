//go:build integration

package attack

import (
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/gilliam/hypervisor/integration/testbed"
	"github.com/gilliam/hypervisor/isolate"
)

// T1, T2, T17, T24: a further command in a sandbox is as poor as the program.
func TestExecuted(t *testing.T) {
	t.Setenv("DAEMON_TOKEN", "of-the-daemon")
	e := testbed.Engine(t)
	b := start(t, e, spec(t, "sleep"))
	b.report(t)
	for _, c := range []struct {
		attack string
		want   map[string]string
	}{
		{"privileges", map[string]string{"self CapEff": noCaps, "self CapBnd": noCaps, "self NoNewPrivs": "1", "self Seccomp": "2", "self Groups": "", "self Uid": "1000 1000 1000 1000"}},
		{"descriptors", map[string]string{"inherited": "0 1 2", "cwd": "/app"}},
		{"calls", map[string]string{"clone3": "ENOSYS", "mount": "EPERM", "add_key": "EPERM", "a thread that may more": "no"}},
		{"namespaces", map[string]string{"unshare user": "EPERM", "clone user": "EPERM", "open /proc/1/ns/mnt": "EACCES"}},
		{"overwrite", map[string]string{"write /proc/1": "EACCES"}},
		{"environment", map[string]string{"own": "HOME=/app\nPORT=8000", "read /proc/1/environ": "EACCES"}},
		{"terminal", map[string]string{"open /dev/tty": "ENXIO", "TIOCSTI on slave": "EPERM"}},
	} {
		got := execute(t, b, c.attack)
		ofProgram := c.attack == "environment" || c.attack == "overwrite" // which is the same user's
		if got.Result != "refused" && !ofProgram {
			t.Errorf("%s: %v", c.attack, got)
		}
		for name, want := range c.want {
			if got.Detail[name] != want {
				t.Errorf("%s: %s: got %q, want %q", c.attack, name, got.Detail[name], want)
			}
		}
		for name, text := range got.Detail {
			if strings.Contains(text, "of-the-daemon") {
				t.Errorf("%s: %s: %q", c.attack, name, text)
			}
		}
	}
}

// execute runs an attack as a further command.
func execute(t *testing.T, b *box, args ...string) report {
	t.Helper()
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	x, err := b.Exec(t.Context(), isolate.Command{Args: append([]string{"/app/probe"}, args...), Stdin: null, Stdout: w, Stderr: w})
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	line := make([]byte, 1<<20)
	n := 0
	for {
		more, err := r.Read(line[n:])
		n += more
		if err != nil {
			break
		}
	}
	if exit := x.Wait(); exit.Code != 0 {
		t.Fatalf("%s: %+v: %s", args, exit, line[:n])
	}
	return decode(t, line[:n])
}

// CVE-2016-9962: while commands are started, the app looks for what their
// starter holds. That it looks well is shown by its seeing the commands.
func TestStarter(t *testing.T) {
	b := start(t, testbed.Engine(t), spec(t, "watch"))
	b.report(t)
	for range 60 {
		execute(t, b, "identity")
	}
	if err := b.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	got := b.report(t)
	if got.Result != "refused" || got.Detail["saw the command"] != "true" {
		t.Errorf("%v", got)
	}
	t.Logf("CVE-2016-9962: %s, %v", got.Result, got.Detail)
}
