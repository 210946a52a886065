//go:build integration

package isolate_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gilliam/hypervisor/integration/testbed"
	"github.com/gilliam/hypervisor/isolate"
)

// A listener is a program that listens, or does not, at its port, and then says
// "up".
type listener struct {
	name, python string
	listens      bool
}

const mptcp = 262 // IPPROTO_MPTCP, what Go's listeners use where they can

var listeners = []listener{
	{"IPv4", `s = socket.socket(); s.bind(("127.0.0.1", port)); s.listen()`, true},
	{"any IPv4", `s = socket.socket(); s.bind(("0.0.0.0", port)); s.listen()`, true},
	{"any", `s = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)`, true},
	{"IPv6 only", `s = socket.create_server(("::1", port), family=socket.AF_INET6)`, true},
	{"multipath", fmt.Sprintf(`s = socket.socket(proto=%d); s.bind(("127.0.0.1", port)); s.listen()`, mptcp), true},
	{"grandchild", `
r, w = os.pipe()
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        s = socket.create_server(("127.0.0.1", port)); os.write(w, b"1"); time.sleep(1000)
    os._exit(0)
os.read(r, 1)`, true},
	{"one of two", `s = socket.create_server(("127.0.0.1", port)); t = socket.create_server(("127.0.0.1", 0))`, true},
	{"again", `
for n in range(50):
    s = socket.create_server(("127.0.0.1", port)); s.close()
s = socket.create_server(("127.0.0.1", port))`, true},

	{"nothing", ``, false},
	{"UDP", `s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(("127.0.0.1", port))`, false},
	{"bound", `s = socket.socket(); s.bind(("127.0.0.1", port))`, false},
	{"closed", `s = socket.create_server(("127.0.0.1", port)); s.close()`, false},
	{"other port", `s = socket.create_server(("127.0.0.1", 0))`, false},
	{"client", `
t = socket.create_server(("127.0.0.1", 0)); s = socket.socket(); s.bind(("127.0.0.1", port)); s.connect(t.getsockname())`, false},
}

// program is one that does what the listeners do, each at its port, and goes on.
func program(listeners []listener, ports []int) []string {
	text := "import os, socket, time\nkept = []\n"
	for n, l := range listeners {
		text += fmt.Sprintf("kept.append(dict(globals(), port=%d)); exec(%q, kept[-1])\n", ports[n], l.python)
	}
	return []string{"/usr/bin/python3", "-c", text + "print('up', flush=True)\ntime.sleep(1000)"}
}

// hosts are this one, and one on which only a socket's user tells whose it is.
func hosts(tb testing.TB) map[string]isolate.Host {
	tb.Helper()
	host, err := isolate.Probe()
	if err != nil {
		tb.Fatal(err)
	}
	if !host.SocketCgroups {
		tb.Error("the kernel does not tell the cgroup of a socket")
	}
	plain := host
	plain.SocketCgroups = false
	return map[string]isolate.Host{"cgroup": host, "user": plain}
}

func engineOf(tb testing.TB, h isolate.Host) *isolate.Engine {
	tb.Helper()
	e, err := isolate.NewEngine(h)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := e.Close(); err != nil {
			tb.Error(err)
		}
	})
	return e
}

// freePorts are ports that nobody has on the host at this time, and that the
// kernel gives to nobody who asks for any (ip_local_port_range in ip(7)).
func freePorts(tb testing.TB, n int) []int {
	tb.Helper()
	var ports []int
	for tries := 0; len(ports) < n; tries++ {
		l, err := net.Listen("tcp", fmt.Sprint(":", 15000+rand.N(15000)))
		if err != nil {
			if tries > 100 {
				tb.Fatal(err)
			}
			continue
		}
		defer l.Close()
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports
}

func freePort(tb testing.TB) int { return freePorts(tb, 1)[0] }

func TestListening(t *testing.T) {
	for by, host := range hosts(t) {
		for _, network := range []isolate.Network{isolate.NetworkNone, isolate.NetworkHost} {
			t.Run(fmt.Sprint(by, "/", network), func(t *testing.T) {
				ports := freePorts(t, len(listeners))
				s := spec(t, program(listeners, ports)...)
				s.Network = network
				r, err := launch(t, engineOf(t, host), s)
				must(t, err)
				if got := r.line(t); got != "up" {
					t.Fatalf("got %q", got)
				}
				for n, l := range listeners {
					if got, err := r.Listening(ports[n]); got != l.listens || err != nil {
						t.Errorf("%s: got %v, %v", l.name, got, err)
					}
				}
				some, err := r.ListeningPorts()
				for _, port := range some {
					if n := slices.Index(ports, port); n >= 0 && !listeners[n].listens {
						t.Errorf("%s: it listens", listeners[n].name)
					}
				}
				if len(some) != 8 || err != nil {
					t.Errorf("got %d ports %v, %v", len(some), some, err)
				}
			})
		}
	}
}

// A neighbour on the same network that has taken the port does not count for its
// owner, whichever of the two things that tell them apart is the same for both.
func TestSquatter(t *testing.T) {
	for by, host := range hosts(t) {
		t.Run(by, func(t *testing.T) {
			e := engineOf(t, host)
			port := freePort(t)
			start := func(ids isolate.IDRange, args ...string) *running {
				s := testbed.Spec(t, ids, args...)
				s.Network = isolate.NetworkHost
				r, err := launch(t, e, s)
				must(t, err)
				r.line(t)
				return r
			}
			other := ids
			if by == "user" {
				other.Base -= ids.Size
			}
			owner := start(ids, sh("echo up; sleep 1000")...)
			squatter := start(other, program(listeners[:1], []int{port})...)
			for box, want := range map[*running]bool{owner: false, squatter: true} {
				if got, err := box.Listening(port); got != want || err != nil {
					t.Errorf("got %v, %v, want %v", got, err, want)
				}
			}
			// Both at once: the squatter has 127.0.0.1, the owner ::1.
			if text, exit := command(t, owner, "", fmt.Sprintf(`python3 -c 'import socket, os
s = socket.create_server(("::1", %d), family=socket.AF_INET6)
if os.fork() == 0:
    os.close(1); os.close(2); os.setsid()
    import time; time.sleep(1000)'`, port)); exit.Code != 0 {
				t.Fatalf("%+v %s", exit, text)
			}
			awaitListening(t, owner.Sandbox, port)
		})
	}
}

// A socket that a sandbox was handed is not its own; one that it made and handed
// on is, as long as somebody holds it.
func TestListeningHanded(t *testing.T) {
	for by, host := range hosts(t) {
		t.Run(by, func(t *testing.T) {
			s := spec(t, sh("echo up; sleep 1000")...)
			s.Network = isolate.NetworkHost
			r, err := launch(t, engineOf(t, host), s)
			must(t, err)
			r.line(t)

			l, err := net.Listen("tcp", "127.0.0.1:0")
			must(t, err)
			defer l.Close()
			handed, err := l.(*net.TCPListener).File()
			must(t, err)
			defer handed.Close()
			port := l.Addr().(*net.TCPAddr).Port
			holder := &conversation{t: t, box: r}
			holder.start(handed, "echo up; sleep 1000")
			if got, err := r.Listening(port); got || err != nil {
				t.Errorf("a socket that it was handed: got %v, %v", got, err)
			}

			fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
			must(t, err)
			ours, theirs := os.NewFile(uintptr(fds[0]), "pair"), os.NewFile(uintptr(fds[1]), "pair")
			defer ours.Close()
			port = freePort(t)
			giver := &conversation{t: t, box: r}
			giver.start(theirs, fmt.Sprintf(`exec python3 -c 'import socket
s = socket.create_server(("127.0.0.1", %d)); socket.send_fds(socket.socket(fileno=0), [b"x"], [s.fileno()]); print("up")'`, port))
			theirs.Close()
			giver.x.Wait()
			oob := make([]byte, unix.CmsgSpace(4))
			_, oobn, _, _, err := unix.Recvmsg(int(ours.Fd()), make([]byte, 1), oob, unix.MSG_CMSG_CLOEXEC)
			must(t, err)
			messages, err := unix.ParseSocketControlMessage(oob[:oobn])
			must(t, err)
			got, err := unix.ParseUnixRights(&messages[0])
			must(t, err)
			if got, err := r.Listening(port); !got || err != nil {
				t.Errorf("a socket that it handed on: got %v, %v", got, err)
			}
			must(t, unix.Close(got[0]))
			if got, err := r.Listening(port); got || err != nil {
				t.Errorf("a socket that nobody has: got %v, %v", got, err)
			}
		})
	}
}

// A conversation is a further command whose first line of output was read.
type conversation struct {
	t   *testing.T
	box *running
	x   *isolate.Execution
}

func (c *conversation) start(stdin *os.File, line string) {
	c.t.Helper()
	r, w, err := os.Pipe()
	must(c.t, err)
	c.x, err = c.box.Exec(c.t.Context(), isolate.Command{Args: sh(line), Stdin: stdin, Stdout: w, Stderr: w})
	w.Close()
	must(c.t, err)
	c.t.Cleanup(func() { r.Close() })
	if got := (&running{out: r}).line(c.t); got != "up" {
		c.t.Fatalf("got %q", got)
	}
}

// awaitListening fails the test when the sandbox does not listen in good time.
func awaitListening(t *testing.T, box *isolate.Sandbox, port int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := box.WaitListening(ctx, port); err != nil {
		t.Errorf("port %d: %v", port, err)
	}
}

func TestWaitListening(t *testing.T) {
	for _, network := range []isolate.Network{isolate.NetworkNone, isolate.NetworkHost} {
		t.Run(string(network), func(t *testing.T) {
			port := freePort(t)
			s := spec(t, "/usr/bin/python3", "-c", fmt.Sprintf(`import signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
print("up", flush=True)
signal.sigwait({signal.SIGTERM})
sys.argv = ["http.server", "%d", "--bind", "127.0.0.1"]
import runpy; runpy.run_module("http.server", run_name="__main__")`, port))
			s.Network = network
			r, err := launch(t, testbed.Engine(t), s)
			must(t, err)
			r.line(t)
			cancelled, cancel := context.WithCancel(t.Context())
			cancel()
			if err := r.WaitListening(cancelled, port); !errors.Is(err, context.Canceled) {
				t.Errorf("cancelled: got %v", err)
			}
			var waits sync.WaitGroup
			for range 3 {
				waits.Go(func() { awaitListening(t, r.Sandbox, port) })
			}
			must(t, r.Signal(syscall.SIGTERM))
			waits.Wait()
			if network == isolate.NetworkHost {
				conn, err := net.Dial("tcp", fmt.Sprint("127.0.0.1:", port))
				must(t, err)
				conn.Close()
			}
		})
	}
}

// A sandbox that ends, before or meanwhile, listens no more.
func TestWaitListeningEnded(t *testing.T) {
	for _, network := range []isolate.Network{isolate.NetworkNone, isolate.NetworkHost} {
		s := spec(t, sh("echo up; read -t 0.1 <> <(:)")...)
		s.Network = network
		r, err := launch(t, testbed.Engine(t), s)
		must(t, err)
		for range 2 {
			if err := r.WaitListening(t.Context(), 8080); !errors.Is(err, isolate.ErrEnded) {
				t.Errorf("%s: got %v", network, err)
			}
		}
		must(t, r.Destroy())
		if got, err := r.Listening(8080); got || !errors.Is(err, isolate.ErrEnded) {
			t.Errorf("%s: got %v, %v", network, got, err)
		}
	}
}

func TestListeningNoPort(t *testing.T) {
	r := sleeper(t)
	for _, port := range []int{-1, 0, 65536, 65536 + 80} {
		if _, err := r.Listening(port); err == nil || !strings.Contains(err.Error(), "no port") {
			t.Errorf("%d: got %v", port, err)
		}
	}
}

// Whoever takes a sandbox over is told the same.
func TestListeningAdopted(t *testing.T) {
	k := launchKept(t, `exec python3 -m http.server 8080 --bind 127.0.0.1`)
	awaitListening(t, k.box, 8080)
	k.adopt()
	if got, err := k.box.Listening(8080); !got || err != nil {
		t.Errorf("got %v, %v", got, err)
	}
	awaitListening(t, k.box, 8080)
	if got, err := k.box.ListeningPorts(); !slices.Equal(got, []int{8080}) || err != nil {
		t.Errorf("got %v, %v", got, err)
	}
}
