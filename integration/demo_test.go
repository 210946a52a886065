//go:build integration

package integration

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gilliam/hypervisor/integration/testbed"
)

// The demo says where its app answers, in one line and nothing else, and leaves
// nothing but its state folder. Started again it is ready at once.
func TestDemo(t *testing.T) {
	t.Run("on the default template", func(t *testing.T) { testDemo(t, testbed.TemplateDir()) })
	t.Run("on what is built in", func(t *testing.T) { testDemo(t, "") })
}

func testDemo(t *testing.T, template string) {
	testbed.Leaves(t)
	stateDir, base := filepath.Join(t.TempDir(), "state"), portRange()
	for _, run := range []string{"first", "second"} {
		start := time.Now()
		demo := startDemo(t, stateDir, base, template)
		if got, want := soon(t, demo.line, "the line of the demo"), fmt.Sprintf("ready: http://127.0.0.1:%d/\n", base); got != want {
			t.Errorf("%s run: got %q, want %q", run, got, want)
		}
		if took := time.Since(start); run == "second" && took > 5*time.Second {
			t.Errorf("the second run was ready after %v", took)
		}
		if body := page(t, base); !strings.Contains(body, "Hello from a sandbox") || !strings.Contains(body, "user       1000:1000") {
			t.Errorf("%s run: got %s", run, body)
		}
		must(t, demo.cmd.Process.Signal(syscall.SIGTERM))
		if more := soon(t, demo.rest, "the end of the demo"); more != "" {
			t.Errorf("%s run: one more on the standard output: %q", run, more)
		}
		demo.cmd.Wait()
		log, err := os.ReadFile(demo.stderr)
		must(t, err)
		if demo.cmd.ProcessState.ExitCode() != 0 || t.Failed() || strings.Contains(string(log), "level=ERROR") {
			t.Errorf("%s run: %v; it logged\n%s", run, demo.cmd.ProcessState, log)
		}
		if _, err := os.Lstat(filepath.Join(stateDir, "hypervisor.sock")); err == nil {
			t.Error("the socket is left")
		}
		free(t, net.JoinHostPort("127.0.0.1", strconv.Itoa(base)))
	}
	if left, err := filepath.Glob(filepath.Join(stateDir, "layers", "*")); err != nil || len(left) > 0 {
		t.Errorf("layers are left: %q, %v", left, err)
	}
}

// A demo runs; it tells its first line, then, at its end, all others.
type demo struct {
	cmd        *exec.Cmd
	line, rest chan string
	stderr     string
}

func startDemo(t *testing.T, stateDir string, base int, template string) demo {
	t.Helper()
	d := demo{line: make(chan string, 1), rest: make(chan string, 1)}
	d.cmd = exec.Command(*hypervisor, "demo", "--state-dir", stateDir, "--template", template,
		"--port", "0", "--base-port", strconv.Itoa(base), "--log-sink", "none")
	d.cmd.Env, d.cmd.SysProcAttr = env, &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	d.stderr = filepath.Join(t.TempDir(), "stderr")
	stderr, err := os.Create(d.stderr)
	must(t, err)
	defer stderr.Close()
	d.cmd.Stderr = stderr
	out, err := d.cmd.StdoutPipe()
	must(t, err)
	must(t, d.cmd.Start())
	// Owned by the test, which receives from both channels: ends with the demo.
	go func() {
		r := bufio.NewReader(out)
		line, _ := r.ReadString('\n')
		d.line <- line
		rest, _ := io.ReadAll(r)
		d.rest <- string(rest)
	}()
	return d
}
