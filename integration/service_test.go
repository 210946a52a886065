//go:build integration

package integration

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gilliam/hypervisor/integration/testbed"
	"github.com/gilliam/hypervisor/server/proc"
)

// activated starts what follows with LISTEN_PID being its own, as systemd does.
var activated = []string{"/bin/sh", "-c", `LISTEN_PID=$$ exec "$@"`, "sh"}

// A manager is the other end of a daemon's notify socket.
type manager struct {
	tb   testing.TB
	conn *net.UnixConn
}

func newManager(tb testing.TB, d *daemon) manager {
	path := filepath.Join(tb.TempDir(), "notify")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	must(tb, err)
	tb.Cleanup(func() { c.Close() })
	d.env = append(d.env, "NOTIFY_SOCKET="+path)
	return manager{tb, c}
}

// hear is the next that the daemon tells, nothing when it does not.
func (m manager) hear(wait time.Duration) string {
	m.conn.SetReadDeadline(time.Now().Add(wait))
	b := make([]byte, 4096)
	n, _ := m.conn.Read(b)
	return string(b[:n])
}

// until waits for a message that begins with want.
func (m manager) until(want string) {
	m.tb.Helper()
	for {
		got := m.hear(patience)
		if strings.HasPrefix(got, want) {
			return
		}
		if got == "" {
			m.tb.Fatalf("the daemon does not tell %s", want)
		}
	}
}

// The service manager hears that the daemon is ready once the API answers, that
// it is well for as long as it is, and that it stops.
func TestServiceNotifies(t *testing.T) {
	const within = 3 * time.Second
	testbed.Leaves(t)
	d := newDaemon(t, t.TempDir(), portRange())
	m := newManager(t, d)
	d.env = append(d.env, fmt.Sprint("WATCHDOG_USEC=", within.Microseconds()))
	ready := d.launch()
	m.until("READY=1\nSTATUS=0 procs running, 0 kept")
	d.tcp = <-ready
	d.want(http.StatusOK, http.MethodGet, "/readyz", nil, nil)
	d.run(proc.Request{Command: proc.Shell("true")})
	m.until("WATCHDOG=1\nSTATUS=0 procs running, 1 kept")

	must(t, d.cmd.Process.Signal(syscall.SIGSTOP))
	beats := 0
	for m.hear(within) != "" { // what was told before
		if beats++; beats > 2 {
			t.Fatal("a daemon that is stopped still beats")
		}
	}
	must(t, d.cmd.Process.Signal(syscall.SIGCONT))
	m.until("WATCHDOG=1")
	must(t, d.cmd.Process.Signal(syscall.SIGTERM))
	m.until("STOPPING=1")
	<-d.exited
}

// A daemon answers on the sockets that it is given, leaves them when it ends, and
// a client that comes while there is none is answered by the next.
func TestServiceSockets(t *testing.T) {
	testbed.Leaves(t)
	d := newDaemon(t, t.TempDir(), portRange())
	on, tcp := listenBoth(t, d)
	defer on.Close()
	defer tcp.Close()
	path := on.Addr().String()
	d.before, d.client = activated, onSocket(t, path)
	d.env = append(d.env, "LISTEN_FDS=2", "LISTEN_FDNAMES=hypervisor.socket:hypervisor.socket")
	d.start()
	if d.tcp != tcp.Addr().String() || !strings.Contains(d.log(), path) {
		t.Errorf("it is ready on %s:\n%s", d.tcp, d.log())
	}
	if _, err := os.Lstat(d.socket); err == nil {
		t.Errorf("it has opened %s as well", d.socket)
	}
	if a := onTCP(t, d.tcp, "").do(http.MethodGet, "/v1/procs", nil); a.status != http.StatusUnauthorized {
		t.Errorf("over TCP without the token: %s", a)
	}
	// 0 to 2, and what ls opens.
	p := d.run(proc.Request{Command: proc.Shell("env | grep -c -e LISTEN_ -e NOTIFY_; ls /proc/self/fd")})
	if got := d.output(p.ID); got != "0\n0\n1\n2\n3\n" {
		t.Errorf("an app has of the service manager: %q", got)
	}
	d.stop()

	waiting := map[string]net.Conn{}
	for _, l := range []net.Listener{on, tcp} {
		c, err := net.Dial(l.Addr().Network(), l.Addr().String())
		if err != nil {
			t.Fatalf("the socket is closed with the daemon: %v", err)
		}
		defer c.Close()
		_, err = io.WriteString(c, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
		must(t, err)
		waiting[l.Addr().Network()] = c
	}
	d.start()
	for network, c := range waiting {
		c.SetReadDeadline(time.Now().Add(patience))
		if line, err := bufio.NewReader(c).ReadString('\n'); err != nil || !strings.Contains(line, "200 OK") {
			t.Errorf("%s: who waited for the next daemon got %q, %v", network, line, err)
		}
	}
	d.stop()
	d.tcp = "" // stays taken: it is ours
}

// listenBoth opens the sockets that the daemon is given.
func listenBoth(t *testing.T, d *daemon) (on *net.UnixListener, tcp *net.TCPListener) {
	t.Helper()
	on, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(t.TempDir(), "given"), Net: "unix"})
	must(t, err)
	must(t, os.Chmod(on.Addr().String(), 0o600))
	tcp, err = net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	must(t, err)
	for _, l := range []interface{ File() (*os.File, error) }{on, tcp} {
		f, err := l.File()
		must(t, err)
		t.Cleanup(func() { f.Close() })
		d.files = append(d.files, f)
	}
	return on, tcp
}

// Sockets for another process are none of ours.
func TestServiceSocketsOfAnother(t *testing.T) {
	testbed.Leaves(t)
	d := newDaemon(t, t.TempDir(), portRange())
	on, tcp := listenBoth(t, d)
	defer on.Close()
	defer tcp.Close()
	d.env = append(d.env, "LISTEN_FDS=2", "LISTEN_PID=1")
	d.start() // and answers on its own socket
	if d.tcp == tcp.Addr().String() {
		t.Errorf("it answers on %s", d.tcp)
	}
	d.stop()
}

// A socket that would make everybody root is refused, and so is what is none.
func TestServiceSocketsRefused(t *testing.T) {
	open, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(t.TempDir(), "open"), Net: "unix"})
	must(t, err)
	defer open.Close()
	must(t, os.Chmod(open.Addr().String(), 0o666))
	public, err := net.ListenTCP("tcp4", nil)
	must(t, err)
	defer public.Close()
	null, err := os.Open(os.DevNull)
	must(t, err)
	defer null.Close()
	openFile, err := open.File()
	must(t, err)
	defer openFile.Close()
	publicFile, err := public.File()
	must(t, err)
	defer publicFile.Close()
	for name, c := range map[string]struct {
		file *os.File
		want string
	}{
		"open to everybody":        {openFile, "SocketMode=0660"},
		"everywhere with no token": {publicFile, "--insecure-tcp: only with --listen on a loopback address"},
		"not a socket":             {null, "non-socket"},
	} {
		d := newDaemon(t, t.TempDir(), portRange(), "--insecure-tcp")
		d.before, d.files, d.env = activated, []*os.File{c.file}, []string{"LISTEN_FDS=1"}
		d.launch()
		select {
		case <-d.exited:
		case <-time.After(patience):
			t.Fatalf("%s: it serves", name)
		}
		if code := d.cmd.ProcessState.ExitCode(); code != 1 || !strings.Contains(d.log(), c.want) {
			t.Errorf("%s: exit status %d, %s", name, code, d.log())
		}
	}
}

// What systemd itself starts at the first connection answers that one.
func TestServiceActivatedBySystemd(t *testing.T) {
	testbed.Leaves(t)
	d := newDaemon(t, t.TempDir(), portRange())
	path := filepath.Join(t.TempDir(), "systemds")
	d.client = onSocket(t, path)
	d.before = []string{"/usr/bin/systemd-socket-activate", "--fdname=hypervisor.socket", "-l", path}
	for _, kv := range env {
		d.before = append(d.before, "-E", kv)
	}
	ready := d.launch()
	testbed.Within(t, patience, "socket of systemd-socket-activate", func() bool {
		return strings.Contains(d.log(), "Listening on")
	})
	d.want(http.StatusOK, http.MethodGet, "/readyz", nil, nil)
	d.tcp = <-ready // its own: systemd has none for it
	d.stop()
}

// systemd has nothing to say about the units, whatever is in the flags.
func TestUnits(t *testing.T) {
	dir := t.TempDir()
	for _, args := range [][]string{
		nil,
		{"--listen", "::1", "--port", "0"},
		{"--state-dir", filepath.Join(dir, `a "state" %u folder`), "--image-dir", `/srv/it's $HOME; \x`, "--listen", "192.0.2.1"},
	} {
		r := command(t, append([]string{"unit", "install", "--dir", dir}, args...)...)
		if r.code != 0 {
			t.Fatalf("%q: %s", args, r)
		}
		out, err := exec.Command("systemd-analyze", "verify", filepath.Join(dir, "hypervisor.service"), filepath.Join(dir, "hypervisor.socket")).CombinedOutput()
		if err != nil || len(out) > 0 {
			t.Errorf("%q: %v\n%s", args, err, out)
		}
	}
}
