//go:build integration

package integration

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gilliam/hypervisor/integration/testbed"
	"github.com/gilliam/hypervisor/server/proc"
)

// The daemon's end is the end of its procs, and their records say so.
func TestDaemonStops(t *testing.T) {
	runDir := filepath.Join(t.TempDir(), "run")
	d := serve(t, "--grace", "1s", "--run-dir", runDir)
	procs := map[string]proc.Proc{}
	for name, command := range map[string]string{"obeys": obeys, "ignores": ignores, "sleeps": "echo up; exec sleep 1000"} {
		p := d.create(proc.Request{Name: name, Command: proc.Shell(command)})
		d.follow(p.ID).until("stdout: up")
		procs[name] = d.get(p.ID)
	}
	cutOff := d.follow(procs["obeys"].ID)
	start := time.Now()
	d.stop()
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("the end took %v, with a grace of 1s", took)
	}
	for cutOff.lines.Scan() {
	}
	if cutOff.lines.Err() == nil {
		t.Error("a follower takes a log that was cut off for a whole one")
	}
	for _, p := range procs {
		if err := syscall.Kill(p.PID, 0); err != syscall.ESRCH {
			t.Errorf("process %d: %v", p.PID, err)
		}
	}
	d.nothingLeft()
	if _, err := os.Stat(runDir); !os.IsNotExist(err) {
		t.Errorf("the run folder is left: %v", err)
	}

	d.start()
	for name, want := range map[string]struct {
		state  proc.State
		reason string
		logs   []string
	}{
		"obeys":   {proc.Done, "", []string{"stdout: up", "stdout: bye"}},
		"ignores": {proc.Fail, "stopped by request", []string{"stdout: up"}},
		"sleeps":  {proc.Fail, "stopped by request", []string{"stdout: up"}},
	} {
		was := procs[name]
		p := d.get(was.ID)
		if p.State != want.state || p.Reason != want.reason || p.Ended == nil || p.PID != 0 || !p.Created.Equal(was.Created) || p.Port != was.Port {
			t.Errorf("%s: got %+v", name, p)
		}
		if got := d.logs(p.ID, ""); !slices.Equal(got, want.logs) {
			t.Errorf("%s: got %q, want %q", name, got, want.logs)
		}
	}
}

// When the machine shuts down the daemon is stopped first, and then every process
// gets SIGTERM and some time: an app ends as it would otherwise, and the next
// daemon tells how.
func TestAppsEndWithTheMachine(t *testing.T) {
	d := serve(t, "--stop-on-exit=false")
	var procs []proc.Proc
	for _, end := range []string{"echo bye; exit 0", "echo no; exit 3"} {
		p := d.create(proc.Request{Command: proc.Shell("trap '" + end + "' TERM; echo up; while :; do read -t 0.005 <> <(:); done")})
		d.follow(p.ID).until("stdout: up")
		procs = append(procs, d.get(p.ID))
	}
	d.stop()
	for _, p := range procs {
		for _, pid := range processesIn(t, p.ID) {
			if err := syscall.Kill(pid, syscall.SIGTERM); err != nil && err != syscall.ESRCH {
				t.Errorf("kill %d: %v", pid, err)
			}
		}
		gone(t, p.PID)
	}
	d.start()
	for n, want := range []struct {
		state proc.State
		code  int
		last  string
	}{{proc.Done, 0, "stdout: bye"}, {proc.Fail, 3, "stdout: no"}} {
		p := d.wait(procs[n].ID)
		if p.State != want.state || p.ExitCode == nil || *p.ExitCode != want.code {
			t.Errorf("got %+v, want %s with %d", p, want.state, want.code)
		}
		if got := d.logs(p.ID, ""); !slices.Equal(got, []string{"stdout: up", want.last}) {
			t.Errorf("got %q, want %s at the end", got, want.last)
		}
	}
}

// processesIn are the processes in a proc's cgroup.
func processesIn(t *testing.T, id string) (pids []int) {
	t.Helper()
	dirs := cgroups(t, id)
	if len(dirs) == 0 {
		t.Fatalf("no cgroup of %s", id)
	}
	text, err := os.ReadFile(filepath.Join(dirs[0], "cgroup.procs"))
	must(t, err)
	for _, field := range strings.Fields(string(text)) {
		pid, err := strconv.Atoi(field)
		must(t, err)
		pids = append(pids, pid)
	}
	return pids
}

// Apps go on when their daemon is killed, or told to end without them, and the next
// one takes them over: nothing of them is lost, and it can do with them what the
// first one could.
func TestAppsOutliveTheDaemon(t *testing.T) {
	for name, end := range map[string]func(*daemon){"killed": (*daemon).kill, "stopped": (*daemon).stop} {
		t.Run(name, func(t *testing.T) {
			d := serve(t, "--stop-on-exit=false")
			done := d.run(proc.Request{Name: "done", Command: proc.Shell("echo before")})
			counts := d.create(proc.Request{Name: "counts", Command: proc.Shell(
				`trap 'echo bye; exit 0' TERM; n=0; while :; do echo $((n++)); read -t 0.005 <> <(:); done`)})
			leaves := d.create(proc.Request{Name: "leaves", Command: proc.Shell("echo up; read -t 2 <> <(:); exit 7")})
			d.follow(counts.ID).until("stdout: 3")
			d.follow(leaves.ID).until("stdout: up")
			was := map[string]proc.Proc{counts.ID: d.get(counts.ID), leaves.ID: d.get(leaves.ID)}
			end(d)
			for _, p := range was {
				if err := syscall.Kill(p.PID, 0); err != nil {
					t.Errorf("%s has ended with the daemon: %v", p.Name, err)
				}
			}
			// One ends while nobody is there.
			gone(t, was[leaves.ID].PID)
			ended := time.Now()

			d.start()
			if got := len(d.list("")); got != 3 {
				t.Errorf("got %d procs, want 3", got)
			}
			p := d.get(counts.ID)
			if before := was[p.ID]; p.State != proc.Running || p.PID != before.PID || p.Port != before.Port || !p.Started.Equal(*before.Started) {
				t.Errorf("got %+v, was %+v", p, before)
			}
			p = d.wait(leaves.ID)
			if p.State != proc.Fail || p.ExitCode == nil || *p.ExitCode != 7 || p.Reason != "exit status 7" || p.Ended.After(ended) {
				t.Errorf("got %+v", p)
			}
			d.follow(counts.ID).until("stdout: 20")
			if r := d.cli(t, "inspect", "--verify", counts.ID); r.code != 0 {
				t.Errorf("verify: %s", r)
			}
			if p := d.stopProc(counts.ID, ""); p.State != proc.Done {
				t.Errorf("got %+v", p)
			}
			lines := d.logs(counts.ID, "")
			for n, line := range lines[:len(lines)-1] {
				if line != fmt.Sprint("stdout: ", n) {
					t.Fatalf("line %d is %q", n, line)
				}
			}
			if p := d.get(done.ID); p.State != proc.Done || !p.Ended.Equal(*done.Ended) || d.output(done.ID) != "before\n" {
				t.Errorf("got %+v, was %+v", p, done)
			}
		})
	}
}

// Killed while an image arrives, the daemon leaves half of it, which the next one
// removes; it launches the proc after all.
func TestDaemonIsKilledDuringBoot(t *testing.T) {
	r := receive(t, well)
	arrived, cancelled := make(chan struct{}, 1), make(chan struct{}, 1)
	images := stall(t, arrived, cancelled)
	d := serve(t)
	p := d.create(proc.Request{Image: images + "app.tar.gz", Command: proc.Shell("true"), Callback: r.url})
	soon(t, arrived, "the fetch")
	half := func() bool {
		left, err := filepath.Glob(filepath.Join(d.stateDir, "cache/.fetch-*"))
		must(t, err)
		return len(left) > 0
	}
	testbed.Within(t, patience, "half an image", half)
	r.next(t, 2)
	d.kill()
	soon(t, cancelled, "the end of the fetch")
	if !half() {
		t.Error("nothing is left before the next start: this tests nothing")
	}
	d.start()
	soon(t, arrived, "the second fetch")
	if p := d.get(p.ID); p.State != proc.Boot || p.Started != nil {
		t.Errorf("got %+v", p)
	}
	d.remove(p.ID)
	soon(t, cancelled, "the end of the second fetch")
	for got := ""; !strings.HasSuffix(got, "state=fail"); { // the one before may be told again
		if got = r.next(t, 1)[0]; strings.HasSuffix(got, "state=init") || strings.HasSuffix(got, "state=done") {
			t.Errorf("callback after the start: got %q", got)
		}
	}
}

// After a restart of the machine nothing of a record is believed that was true of the
// one before: what has its process id now is let alone, whatever the power cut has
// left of the files is enough, and an end that was on the disk is told.
func TestRecordsOfAnotherBoot(t *testing.T) {
	d := serve(t, "--stop-on-exit=false", "--restart-wait", "10ms")
	runs := d.create(proc.Request{Name: "runs", Command: proc.Shell("echo up; exec sleep 1000")})
	ends := d.create(proc.Request{Name: "ends", Command: proc.Shell("echo up; read -t 1 <> <(:); exit 7")})
	again := d.create(proc.Request{Name: "again", Command: proc.Shell("echo up; exec sleep 1000"), Supervision: restart(proc.RestartAlways, 0)})
	for _, p := range []proc.Proc{runs, ends, again} {
		d.follow(p.ID).until("stdout: up")
	}
	was := map[string]int{}
	for _, p := range d.list("") {
		was[p.ID] = p.PID
	}
	d.kill()
	gone(t, was[ends.ID])
	innocent := exec.Command("sleep", "1000")
	must(t, innocent.Start())
	defer func() {
		innocent.Process.Kill()
		innocent.Wait()
	}()
	for id, pid := range was {
		dir := filepath.Join(d.stateDir, "procs", id)
		if id != ends.ID {
			must(t, syscall.Kill(pid, syscall.SIGKILL))
			gone(t, pid)
		}
		must(t, os.Truncate(filepath.Join(dir, "sandbox.json"), 0))
		record, err := os.ReadFile(filepath.Join(dir, "proc.json"))
		must(t, err)
		text := regexp.MustCompile(`"boot":"[^"]*"`).ReplaceAllString(string(record), `"boot":"11111111-1111-4111-8111-111111111111"`)
		text = strings.Replace(text, fmt.Sprintf(`"pid":%d`, pid), fmt.Sprintf(`"pid":%d`, innocent.Process.Pid), 1)
		must(t, os.WriteFile(filepath.Join(dir, "proc.json"), []byte(text), 0o600))
	}
	d.start()
	if p := d.wait(runs.ID); p.State != proc.Fail || p.Reason != "the machine was restarted while it ran" || d.output(p.ID) != "up\n" {
		t.Errorf("got %+v", p)
	}
	if p := d.wait(ends.ID); p.State != proc.Fail || p.ExitCode == nil || *p.ExitCode != 7 {
		t.Errorf("got %+v", p)
	}
	p := d.until(again.ID, "its restart", func(p proc.Proc) bool { return p.State == proc.Running && p.Restarts == 1 })
	if p.Last == nil || p.Last.Reason != "the machine was restarted while it ran" {
		t.Errorf("got %+v", p)
	}
	for id := range was {
		d.remove(id)
	}
	untouched(t, innocent.Process.Pid)
}

// A record that cannot be read is set aside and kept; the others are there.
func TestBrokenRecords(t *testing.T) {
	d := serve(t)
	good := d.run(proc.Request{Command: proc.Shell("echo good")})
	var bad []string
	for range 6 {
		bad = append(bad, d.run(proc.Request{Command: proc.Shell("echo bad")}).ID)
	}
	d.stop()
	record := func(n int) string { return filepath.Join(d.stateDir, "procs", bad[n], "proc.json") }
	whole, err := os.ReadFile(record(2))
	must(t, err)
	must(t, os.Truncate(record(0), int64(len(whole)/2)))
	must(t, os.Truncate(record(1), 0))
	must(t, os.WriteFile(record(2), []byte(strings.Replace(string(whole), `"version":2`, `"version":99`, 1)), 0o600))
	must(t, os.Remove(record(3)))
	must(t, os.Remove(record(4)))
	must(t, os.Mkdir(record(4), 0o700))
	flipped, err := os.ReadFile(record(5))
	must(t, err)
	must(t, os.WriteFile(record(5), []byte(strings.Replace(string(flipped), `"state":"d`, `"state":"e`, 1)), 0o600))
	must(t, os.WriteFile(filepath.Join(d.stateDir, "procs", "stray"), []byte("a file"), 0o600))

	d.errorsExpected = true
	d.start()
	if got := d.list(""); len(got) != 1 || got[0].ID != good.ID || d.output(good.ID) != "good\n" {
		t.Errorf("got %+v", got)
	}
	aside, err := os.ReadDir(filepath.Join(d.stateDir, "set-aside"))
	if err != nil || len(aside) != 7 {
		t.Errorf("set aside: got %v, %v, want 7", aside, err)
	}
	for _, id := range bad {
		if !strings.Contains(d.log(), id) {
			t.Errorf("the log does not tell of %s", id)
		}
	}
}

// A daemon that is in the way of another, or is told something wrong, says why
// it does not start, and the other goes on.
func TestDaemonIsRefused(t *testing.T) {
	d := serve(t)
	p := d.create(proc.Request{Command: proc.Shell("echo up; exec sleep 1000")})
	d.follow(p.ID).until("stdout: up")
	open := t.TempDir()
	memory, err := os.MkdirTemp("/dev/shm", "gilliam-test-")
	must(t, err)
	t.Cleanup(func() { must(t, os.RemoveAll(memory)) })
	must(t, os.Chmod(open, 0o777))
	must(t, os.WriteFile(filepath.Join(open, "someone-elses"), nil, 0o600))
	_, port, _ := strings.Cut(d.tcp, ":")
	for name, c := range map[string]struct {
		args []string
		code int
		want []string
	}{
		"same folder":     {[]string{"--state-dir", d.stateDir, "--port", "0"}, 1, []string{fmt.Sprintf("another hypervisor, process %d, uses the state folder", d.pid()), "--state-dir"}},
		"same port":       {[]string{"--state-dir", t.TempDir(), "--port", port}, 1, []string{"address already in use", "--port"}},
		"same socket":     {[]string{"--state-dir", t.TempDir(), "--port", "0", "--socket", d.socket}, 1, []string{"another program answers"}},
		"a public folder": {[]string{"--state-dir", open, "--port", "0"}, 1, []string{"open to others"}},
		"no such disk":    {[]string{"--state-dir", memory, "--port", "0", "--max-io", "read_bps=1M"}, 1, []string{"--max-io", "no single disk"}},
		"no such profile": {[]string{"--state-dir", t.TempDir(), "--port", "0", "--apparmor-profile", "none-such"}, 1, []string{"--apparmor-profile", "none-such"}},
		"wrong flag":      {[]string{"--prot", "0"}, 2, []string{"--prot", "--help"}},
		"public and open": {[]string{"--listen", "0.0.0.0", "--insecure-tcp"}, 2, []string{"--insecure-tcp", "loopback"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := command(t, append([]string{"serve", "--log-sink", "none"}, c.args...)...)
			if r.code != c.code || r.stdout != "" {
				t.Errorf("got %s", r)
			}
			for _, want := range c.want {
				if !strings.Contains(r.stderr, want) {
					t.Errorf("no %q in %s", want, r.stderr)
				}
			}
		})
	}
	if p := d.get(p.ID); p.State != proc.Running {
		t.Errorf("got %+v", p)
	}
}
