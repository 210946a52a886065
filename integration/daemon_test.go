//go:build integration

package integration

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/gilliam/hypervisor/integration/testbed"
)

const (
	// patience is how long anything that should be quick may take on a busy
	// machine before a test gives it up.
	patience = 20 * time.Second

	// raceStatus is the exit status of a program that the race detector ended.
	raceStatus = 66

	// poolSize is how many ports each test has for itself.
	poolSize = 40
)

// env is the environment of everything that the tests start.
var env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "GORACE=halt_on_error=1 atexit_sleep_ms=0 exitcode=" + strconv.Itoa(raceStatus)}

// ports is the last port given out. The range lies beyond the default pool and
// below what the kernel gives to clients (ip_local_port_range).
var ports atomic.Int32

func init() { ports.Store(12000) }

// portRange is the first of poolSize ports that no other test uses.
func portRange() int { return int(ports.Add(poolSize)) }

// A daemon is a hypervisor that serves, on a state folder of its own.
type daemon struct {
	*client
	tb       testing.TB
	stateDir string
	socket   string
	tcp      string // the address of its API
	basePort int
	args     []string
	binary   string     // of the hypervisor
	before   []string   // of the command: what starts the daemon
	env      []string   // beside env
	files    []*os.File // from descriptor 3 on
	cmd      *exec.Cmd
	exited   chan struct{} // closed when it has been waited for

	mu     sync.Mutex
	stderr bytes.Buffer

	// errorsExpected is for a test that gives the daemon a reason to log some.
	errorsExpected bool
	bugsExpected   bool
}

// serve starts a daemon that may fetch from this machine. Its end, and that
// nothing is left of it, is checked with the end of the test.
func serve(tb testing.TB, args ...string) *daemon {
	tb.Helper()
	return serveIn(tb, tb.TempDir(), portRange(), append([]string{"--allow-net", "127.0.0.0/8"}, args...)...)
}

// serveIn is serve on a state folder and a pool of ports that are given, and
// with nothing allowed that is not by default.
func serveIn(tb testing.TB, stateDir string, basePort int, args ...string) *daemon {
	tb.Helper()
	testbed.Leaves(tb)
	d := newDaemon(tb, stateDir, basePort, args...)
	d.start()
	return d
}

func newDaemon(tb testing.TB, stateDir string, basePort int, args ...string) *daemon {
	d := &daemon{tb: tb, stateDir: stateDir, socket: filepath.Join(stateDir, "hypervisor.sock"), basePort: basePort, binary: *hypervisor}
	d.args = append([]string{
		"--state-dir", stateDir, "--template", testbed.TemplateDir(), "--port", "0", "--base-port", strconv.Itoa(basePort),
		"--max-procs", strconv.Itoa(poolSize), "--log-sink", "none", "--log-format", "json", "--log-level", "info", "--stop-on-exit",
	}, args...)
	d.client = onSocket(tb, d.socket)
	return d
}

// runDir is where the daemon keeps its leases.
func (d *daemon) runDir() string {
	if n := slices.Index(d.args, "--run-dir"); n >= 0 {
		return d.args[n+1]
	}
	return "/run/gilliam"
}

// start starts the daemon and waits until it is ready. It may be started again
// after its end.
func (d *daemon) start() {
	d.tb.Helper()
	ready := d.launch()
	select {
	case d.tcp = <-ready:
	case <-d.exited:
		d.tb.Fatalf("the daemon ended at its start: %v\n%s", d.cmd.ProcessState, d.log())
	case <-time.After(patience):
		d.tb.Fatalf("the daemon is not ready within %v", patience)
	}
	if r := d.do(http.MethodGet, "/readyz", nil); r.status != http.StatusOK {
		d.tb.Fatalf("/readyz: %s", r)
	}
}

// launch starts the daemon; the channel tells the address of its API.
func (d *daemon) launch() <-chan string {
	d.tb.Helper()
	args := slices.Concat(d.before, []string{d.binary, "serve"}, d.args)
	d.cmd = exec.Command(args[0], args[1:]...)
	d.cmd.Env = slices.Concat(env, d.env)
	d.cmd.ExtraFiles = d.files
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // when the test binary is killed
	stderr, err := d.cmd.StderrPipe()
	if err != nil {
		d.tb.Fatal(err)
	}
	if err := d.cmd.Start(); err != nil {
		d.tb.Fatal(err)
	}
	ready, exited := make(chan string, 1), make(chan struct{})
	d.exited = exited
	cmd := d.cmd
	// Owned by the daemon: ends with it; halt waits for exited.
	go func() {
		defer close(exited)
		d.listen(stderr, ready)
		cmd.Wait() // its status is in ProcessState
	}()
	d.tb.Cleanup(d.end)
	return ready
}

// listen keeps what the daemon logs, and tells when it says that it is ready.
func (d *daemon) listen(stderr io.Reader, ready chan<- string) {
	lines := bufio.NewScanner(stderr)
	lines.Buffer(nil, 8<<20)
	for lines.Scan() {
		d.mu.Lock()
		d.stderr.Write(append(lines.Bytes(), '\n'))
		d.mu.Unlock()
		var line struct{ Msg, TCP string }
		if json.Unmarshal(lines.Bytes(), &line) == nil && line.Msg == "ready" {
			ready <- line.TCP
		}
	}
}

// log is what the daemon has logged.
func (d *daemon) log() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.stderr.String()
}

func (d *daemon) pid() int { return d.cmd.Process.Pid }

// kill ends the daemon as a crash would.
func (d *daemon) kill() {
	d.tb.Helper()
	if err := d.cmd.Process.Kill(); err != nil {
		d.tb.Fatal(err)
	}
	<-d.exited
}

// stop ends the daemon as its operator would. It must stop its procs and exit
// with 0.
func (d *daemon) stop() {
	d.tb.Helper()
	d.http.CloseIdleConnections()
	if err := d.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		d.tb.Errorf("the daemon has ended by itself: %v", err)
	}
	select {
	case <-d.exited:
	case <-time.After(time.Minute):
		d.tb.Errorf("the daemon did not stop within a minute; its goroutines:")
		d.cmd.Process.Signal(syscall.SIGQUIT)
		<-d.exited
	}
	if code := d.cmd.ProcessState.ExitCode(); code == raceStatus {
		d.tb.Errorf("DATA RACE in the daemon")
	} else if code != 0 {
		d.tb.Errorf("the daemon ended with %v", d.cmd.ProcessState)
	}
}

// end stops the daemon if it still runs and looks for what is left of it. It
// runs when the test ends, once for each start.
func (d *daemon) end() {
	select {
	case <-d.exited:
	default:
		d.stop()
	}
	d.nothingLeft()
	d.noErrors()
	if d.tb.Failed() {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.tb.Logf("log of the daemon on %s:\n%s", d.stateDir, d.stderr.String())
		d.stderr.Reset()
	}
}
