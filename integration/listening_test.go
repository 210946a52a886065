//go:build integration

package integration

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gilliam/hypervisor/integration/testbed"
	"github.com/gilliam/hypervisor/isolate"
	"github.com/gilliam/hypervisor/server/proc"
)

// listens waits until a proc listens on its port.
func (d *daemon) listens(id string) (p proc.Proc) {
	d.tb.Helper()
	d.want(http.StatusOK, http.MethodGet, "/v1/procs/"+id+"/wait?for=listening&timeout="+patience.String(), nil, &p)
	if p.Listening == nil {
		d.tb.Fatalf("it does not listen: %+v", p)
	}
	return p
}

// deaf makes sure that a proc is not taken for listening for a while.
func (d *daemon) deaf(id string) {
	d.tb.Helper()
	var p proc.Proc
	d.want(http.StatusAccepted, http.MethodGet, "/v1/procs/"+id+"/wait?for=listening&timeout=400ms", nil, &p)
	if p.Listening != nil || p.State != proc.Running {
		d.tb.Errorf("got %+v", p)
	}
}

// python is a command that runs a program with PORT and then sleeps.
func python(program string) proc.Command {
	return proc.Exec("/usr/bin/python3", "-c", "import os, socket, time\nport = int(os.environ['PORT'])\n"+program+"\nprint('up', flush=True)\ntime.sleep(1000)")
}

// Whoever waits for a proc to listen can connect to it at once, whatever it is
// written in and however it listens.
func TestListening(t *testing.T) {
	images := serveImages(t, map[string][]byte{"go.tar.gz": gowebImage(t)})
	d := serve(t)
	for name, r := range map[string]proc.Request{
		"python":    {Command: proc.Shell("exec python3 -m http.server --directory /var/tmp --bind 127.0.0.1 $PORT")},
		"go":        {Image: images + "go.tar.gz", Command: proc.Exec("./goweb")},
		"ipv6 only": {Command: python("s = socket.create_server(('::1', port), family=socket.AF_INET6)")},
		"child":     {Command: python("if os.fork() == 0:\n    s = socket.create_server(('127.0.0.1', port)); time.sleep(1000)")},
		"apart":     {Command: proc.Shell("exec python3 -m http.server --directory /var/tmp $PORT"), Network: isolate.NetworkNone},
	} {
		r.Name = strings.ReplaceAll(name, " ", "-")
		p := d.listens(d.create(r).ID)
		if p.State != proc.Running || p.Listening.Before(*p.Started) || time.Since(*p.Listening) > time.Minute {
			t.Errorf("%s: got %+v", name, p)
		}
		if name == "python" || name == "go" {
			res, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/", p.Port))
			if err != nil {
				t.Fatal(err)
			}
			io.Copy(io.Discard, res.Body)
			res.Body.Close()
		}
	}
	if got := d.want(http.StatusOK, http.MethodGet, "/metrics", nil, nil).body; !strings.Contains(got, "\ngilliam_proc_listen_seconds_count 5\n") {
		t.Error("not five times to listening in the metrics")
	}
	if r := d.cli(t, "ps"); strings.Count(r.stdout, "running (listening)") != 5 {
		t.Errorf("got %s", r)
	}
}

// What is not a listening TCP socket of the proc on its port does not count.
func TestNotListening(t *testing.T) {
	d := serve(t)
	owner := d.create(proc.Request{Name: "owner", Command: proc.Shell("echo up; exec sleep 1000")})
	d.follow(owner.ID).until("stdout: up")
	squatter := d.create(proc.Request{Name: "squatter", Config: map[string]string{"OTHER": owner.Config["PORT"]},
		Command: python("s = socket.create_server(('127.0.0.1', int(os.environ['OTHER'])))")})
	d.follow(squatter.ID).until("stdout: up")
	udp := d.create(proc.Request{Name: "udp", Command: python("s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('127.0.0.1', port))")})
	d.follow(udp.ID).until("stdout: up")
	for _, p := range []proc.Proc{owner, squatter, udp} {
		d.deaf(p.ID)
	}
	ended := d.create(proc.Request{Name: "ended", Command: proc.Shell("exit 0")})
	var p proc.Proc
	d.want(http.StatusOK, http.MethodGet, "/v1/procs/"+ended.ID+"/wait?for=listening", nil, &p)
	if p.State != proc.Done || p.Listening != nil {
		t.Errorf("got %+v", p)
	}
}

// A proc that does not listen in its boot timeout fails and is told why; its
// restart policy decides what then.
func TestBootTimeout(t *testing.T) {
	d := serve(t, "--grace", "1s", "--restart-wait", "10ms")
	soon := proc.Supervision{BootTimeout: 0.5}
	p := d.run(proc.Request{Command: proc.Shell("exec sleep 1000"), Supervision: soon})
	if want := fmt.Sprintf("did not listen on PORT %d within 500ms: does it listen on $PORT", p.Port); p.State != proc.Fail || !strings.HasPrefix(p.Reason, want) || p.Listening != nil {
		t.Errorf("got %+v, want %s", p, want)
	}
	other := proc.Request{Command: python("s = socket.create_server(('127.0.0.1', 8080)); t = socket.create_server(('::1', 3000), family=socket.AF_INET6)"),
		Network: isolate.NetworkNone, Supervision: proc.Supervision{BootTimeout: 2}}
	if p := d.run(other); !strings.HasSuffix(p.Reason, "within 2s, but on 3000 8080: it must take the port from $PORT") {
		t.Errorf("got %+v", p)
	}
	soon.Restart = &proc.Restart{Policy: proc.RestartOnFailure, Max: 1}
	if p := d.run(proc.Request{Command: proc.Shell("exec sleep 1000"), Supervision: soon}); p.Restarts != 1 || !strings.Contains(p.Last.Reason, "did not listen") {
		t.Errorf("got %+v", p)
	}
	// One that listens in time has no more to fear.
	p = d.create(proc.Request{Command: proc.Shell("exec python3 -m http.server --directory /var/tmp $PORT"), Supervision: proc.Supervision{BootTimeout: 20}})
	d.listens(p.ID)
	if p := d.stopProc(p.ID, ""); p.Reason != "stopped by request" || p.Listening == nil {
		t.Errorf("got %+v", p)
	}
}

// Each start counts by itself.
func TestListeningAgain(t *testing.T) {
	d := serve(t, "--restart-wait", "10ms")
	p := d.create(proc.Request{Command: python("s = socket.create_server(('127.0.0.1', port)); s.settimeout(1000); s.accept(); raise SystemExit(3)"),
		Supervision: restart(proc.RestartAlways, 0)})
	first := d.listens(p.ID)
	if res, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/", p.Port)); err == nil {
		res.Body.Close()
	}
	second := d.until(p.ID, "listens again", func(p proc.Proc) bool { return p.Restarts == 1 && p.Listening != nil })
	if !second.Listening.After(*second.Started) || !second.Started.After(*first.Listening) {
		t.Errorf("at first %+v\nthen %+v", first, second)
	}
}

// A daemon that takes over a proc knows that it listens, finds out that it does
// meanwhile, or goes on waiting for as long as the one before would have.
func TestListeningAfterTheDaemon(t *testing.T) {
	d := serve(t, "--grace", "1s")
	const onSignal = `import signal
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
print('ready', flush=True)
signal.sigwait({signal.SIGUSR1})
s = socket.create_server(('127.0.0.1', port))`
	was := d.listens(d.create(proc.Request{Name: "before", Command: python("s = socket.create_server(('127.0.0.1', port))")}).ID)
	meanwhile := d.create(proc.Request{Name: "meanwhile", Command: python(onSignal)})
	after := d.create(proc.Request{Name: "after", Command: python(onSignal)})
	never := d.create(proc.Request{Name: "never", Command: proc.Shell("echo ready; exec sleep 1000"), Supervision: proc.Supervision{BootTimeout: 3}})
	for _, p := range []*proc.Proc{&meanwhile, &after, &never} {
		d.follow(p.ID).until("stdout: ready")
		*p = d.get(p.ID)
	}
	d.deaf(meanwhile.ID)
	d.deaf(after.ID)
	d.kill()
	signalApp(t, meanwhile, syscall.SIGUSR1)
	testbed.Within(t, patience, "a connection", func() bool {
		conn, err := net.Dial("tcp", fmt.Sprint("127.0.0.1:", meanwhile.Port))
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
	d.start()
	if p := d.get(was.ID); p.Listening == nil || !p.Listening.Equal(*was.Listening) {
		t.Errorf("got %+v, was %+v", p, was)
	}
	d.listens(meanwhile.ID)
	d.deaf(after.ID)
	signalApp(t, after, syscall.SIGUSR1)
	d.listens(after.ID)
	if p := d.wait(never.ID); !strings.Contains(p.Reason, "did not listen on PORT") || p.Ended.Sub(*p.Started) < 3*time.Second {
		t.Errorf("got %+v", p)
	}
	// Of what was started by another daemon it is not told how long it took.
	if got := d.want(http.StatusOK, http.MethodGet, "/metrics", nil, nil).body; !strings.Contains(got, "\ngilliam_proc_listen_seconds_count 0\n") {
		t.Error("there are times to listening in the metrics")
	}
}

// signalApp signals the program of a proc that is nothing but PID 1's one child.
func signalApp(t *testing.T, p proc.Proc, sig syscall.Signal) {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", p.PID, p.PID))
	must(t, err)
	var pid int
	_, err = fmt.Sscan(string(b), &pid)
	must(t, err)
	must(t, syscall.Kill(pid, sig))
}

// The run verb waits until a proc listens, or says why it does not.
func TestCommandRunWaitsListening(t *testing.T) {
	d := serve(t)
	r := d.cli(t, "run", "--detach", "--wait-listening", "--shell", "exec python3 -m http.server --directory /var/tmp $PORT")
	if r.code != 0 || d.get(strings.TrimSpace(r.stdout)).Listening == nil {
		t.Errorf("got %s", r)
	}
	r = d.cli(t, "run", "--detach", "--wait-listening", "--shell", "echo oops; exit 3")
	if r.code != 125 || !strings.Contains(r.stderr, "exit status 3\nits last output was:\n  oops\n") || d.get(strings.TrimSpace(r.stdout)).State != proc.Fail {
		t.Errorf("got %s", r)
	}
	r = d.cli(t, "run", "--detach", "--wait-listening", "--boot-timeout", "300ms", "--json", "--", "sleep", "1000")
	if r.code != 125 || !strings.Contains(r.stderr, "did not listen on PORT") {
		t.Errorf("got %s", r)
	}
}
