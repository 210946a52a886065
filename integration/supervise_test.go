//go:build integration

package integration

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gilliam/hypervisor/integration/testbed"
	"github.com/gilliam/hypervisor/server/proc"
)

// until waits until a proc is as it should be.
func (d *daemon) until(id, what string, ready func(proc.Proc) bool) (p proc.Proc) {
	d.tb.Helper()
	testbed.Within(d.tb, patience, what, func() bool {
		p = d.get(id)
		return ready(p)
	})
	return p
}

func restart(policy proc.RestartPolicy, most int) proc.Supervision {
	return proc.Supervision{Restart: &proc.Restart{Policy: policy, Max: most}}
}

// What fails is started again, with its port, in a fresh layer, until it was
// often enough; its log is one.
func TestRestarts(t *testing.T) {
	r := receive(t, well)
	d := serve(t, "--restart-wait", "20ms")
	p := d.run(proc.Request{
		Command:     proc.Shell("echo $PORT; ls /app/was /var/tmp/was 2>/dev/null; touch /var/tmp/was; exit 3"),
		Supervision: restart(proc.RestartOnFailure, 2), Callback: r.url,
	})
	if p.State != proc.Fail || p.Restarts != 2 || *p.ExitCode != 3 || p.Last == nil || *p.Last.ExitCode != 3 || p.Last.Reason != "exit status 3" ||
		!strings.Contains(p.Reason, "exit status 3") || !strings.Contains(p.Reason, "given up after 2 restarts") {
		t.Errorf("got %+v", p)
	}
	port := "stdout: " + p.Config["PORT"]
	if got := d.logs(p.ID, ""); !slices.Equal(got, []string{port, port, port}) {
		t.Errorf("got %q", got)
	}
	var states []string
	for _, url := range r.next(t, 10) {
		_, state, _ := strings.Cut(url, "state=")
		states = append(states, state)
	}
	if got, want := strings.Join(states, " "), "init boot running restarting boot running restarting boot running fail"; got != want {
		t.Errorf("callbacks: got %s, want %s", got, want)
	}
	if p := d.run(proc.Request{Command: proc.Shell("true"), Supervision: restart(proc.RestartOnFailure, 0)}); p.State != proc.Done || p.Restarts != 0 {
		t.Errorf("what is done is not started again: %+v", p)
	}
	// What could not be launched is tried again, too.
	if p := d.run(proc.Request{Command: proc.Exec("/no/such"), Supervision: restart(proc.RestartAlways, 1)}); p.State != proc.Fail || p.Restarts != 1 || *p.ExitCode != 127 {
		t.Errorf("got %+v", p)
	}
}

// While it waits for its restart a proc can be stopped, and a daemon be killed:
// the next one goes on waiting.
func TestStopWhileRestarting(t *testing.T) {
	d := serve(t, "--restart-wait", "1h", "--restart-wait-max", "1h")
	p := d.create(proc.Request{Command: proc.Shell("echo up; exit 3"), Supervision: restart(proc.RestartAlways, 0)})
	was := d.until(p.ID, "the wait", func(p proc.Proc) bool { return p.State == proc.Restarting })
	if was.NextStart == nil || time.Until(*was.NextStart) < 20*time.Minute || was.PID != 0 || was.Ended != nil {
		t.Errorf("got %+v", was)
	}
	d.noFolders()
	d.kill()
	d.start()
	if p := d.get(p.ID); p.State != proc.Restarting || !p.NextStart.Equal(*was.NextStart) || p.Port != was.Port || p.Restarts != 1 {
		t.Errorf("got %+v, was %+v", p, was)
	}
	if p := d.stopProc(p.ID, ""); p.State != proc.Fail || !strings.Contains(p.Reason, "stopped by request") || p.Port != was.Port {
		t.Errorf("got %+v", p)
	}
	d.remove(p.ID)
	d.nothingLeftOf(t, p)
}

// A proc whose daemon is away when it fails is restarted by the next one.
func TestRestartAfterTheDaemon(t *testing.T) {
	d := serve(t, "--restart-wait", "10ms", "--stop-on-exit=false")
	p := d.create(proc.Request{Command: proc.Shell("echo up; read -t 1 <> <(:); exit 4"), Supervision: restart(proc.RestartOnFailure, 1)})
	d.follow(p.ID).until("stdout: up")
	pid := d.get(p.ID).PID
	d.kill()
	gone(t, pid)
	d.start()
	if p := d.wait(p.ID); p.State != proc.Fail || p.Restarts != 1 || *p.ExitCode != 4 || *p.Last.ExitCode != 4 {
		t.Errorf("got %+v", p)
	}
	if got := d.logs(p.ID, ""); !slices.Equal(got, []string{"stdout: up", "stdout: up"}) {
		t.Errorf("got %q", got)
	}
}

// Checks make a proc healthy, and one that fails them is ended as a failure.
func TestHealth(t *testing.T) {
	d := serve(t, "--grace", "1s", "--restart-wait", "20ms")
	checked := func(h proc.Health) proc.Supervision {
		h.Interval, h.Timeout, h.Start, h.Retries = 0.05, 2, 0.3, 2
		return proc.Supervision{Health: &h}
	}
	const server = "exec python3 -u -m http.server --directory /var/tmp $PORT"
	for name, h := range map[string]proc.Health{"http": {HTTP: "/"}, "tcp": {TCP: true}, "exec": {Exec: []string{"test", "-d", "/app"}}} {
		s := checked(h)
		s.Health.Start = 30
		p := d.create(proc.Request{Name: name, Command: proc.Shell(server), Supervision: s})
		d.until(p.ID, name+" is healthy", func(p proc.Proc) bool { return p.Status == proc.HealthHealthy })
		d.remove(p.ID)
	}
	for name, c := range map[string]struct {
		health proc.Health
		want   string
	}{
		"http": {proc.Health{HTTP: "/no/such"}, "404"},
		"tcp":  {proc.Health{TCP: true}, "refused"},
		"exec": {proc.Health{Exec: []string{"false"}}, "exited with 1"},
	} {
		command := "exec sleep 1000"
		if name == "http" {
			command = server
		}
		p := d.run(proc.Request{Name: name, Command: proc.Shell(command), Supervision: checked(c.health)})
		if p.State != proc.Fail || !strings.Contains(p.Reason, "unhealthy: 2 checks") || !strings.Contains(p.Reason, c.want) || p.Status != proc.HealthUnhealthy {
			t.Errorf("%s: got %+v", name, p)
		}
	}
	s := checked(proc.Health{TCP: true})
	s.Restart = &proc.Restart{Policy: proc.RestartOnFailure, Max: 1}
	if p := d.run(proc.Request{Name: "again", Command: proc.Shell("exec sleep 1000"), Supervision: s}); p.Restarts != 1 || !strings.Contains(p.Last.Reason, "unhealthy") {
		t.Errorf("got %+v", p)
	}
}

// A daemon that takes over a proc goes on checking it.
func TestHealthAfterTheDaemon(t *testing.T) {
	d := serve(t, "--grace", "1s", "--stop-on-exit=false")
	p := d.create(proc.Request{Command: proc.Shell("touch /var/tmp/well; echo up; read -t 3 <> <(:); rm /var/tmp/well; exec sleep 1000"), Supervision: proc.Supervision{
		Health: &proc.Health{Exec: []string{"test", "-e", "/var/tmp/well"}, Interval: 0.05, Start: 0.1, Retries: 2},
	}})
	d.until(p.ID, "healthy", func(p proc.Proc) bool { return p.Status == proc.HealthHealthy })
	d.kill()
	d.start()
	if p := d.wait(p.ID); !strings.Contains(p.Reason, "unhealthy") {
		t.Errorf("got %+v", p)
	}
}

// The ttl, the signal and the grace are the proc's own.
func TestTTLAndStopSignal(t *testing.T) {
	d := serve(t, "--grace", "30s")
	p := d.run(proc.Request{Command: proc.Shell("exec sleep 1000"), Supervision: proc.Supervision{TTL: 0.5, Restart: &proc.Restart{Policy: proc.RestartAlways}}})
	if p.State != proc.Fail || p.Reason != "its ttl of 500ms is over" || p.Restarts != 0 {
		t.Errorf("got %+v", p)
	}
	p = d.create(proc.Request{Command: proc.Shell("trap 'echo int; exit 0' INT; trap 'echo term' TERM; echo up; while :; do read -t 1 <> <(:); done"),
		Supervision: proc.Supervision{StopSignal: "SIGINT"}})
	d.follow(p.ID).until("stdout: up")
	if p := d.stopProc(p.ID, ""); p.State != proc.Done || !slices.Contains(d.logs(p.ID, ""), "stdout: int") {
		t.Errorf("got %+v", p)
	}
	p = d.create(proc.Request{Command: proc.Shell(ignores), Supervision: proc.Supervision{Grace: 0.2}})
	d.follow(p.ID).until("stdout: up")
	start := time.Now()
	if p := d.stopProc(p.ID, ""); p.Signal != "SIGKILL" || time.Since(start) > 20*time.Second {
		t.Errorf("got %+v after %v", p, time.Since(start))
	}
}
