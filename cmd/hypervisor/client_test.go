package main

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gilliam/hypervisor/isolate"
	"github.com/gilliam/hypervisor/server"
	"github.com/gilliam/hypervisor/server/proc"
)

const appOut, appErr = "out\npartial \xff\n", "err\n"

func TestRun(t *testing.T) {
	m := newMachine(t)
	m.serve()
	tests := []struct {
		args           []string
		status         int
		stdout, stderr string
	}{
		{[]string{"--", "exit0"}, 0, appOut, appErr},
		{[]string{"exit0", "--json", "-x"}, 0, appOut, appErr}, // the command's own flags
		{[]string{"--", "exit3"}, 3, appOut, appErr},
		{[]string{"--", "oom"}, 137, appOut, "out of memory"},
		{[]string{"--", "missing"}, 127, appOut, "exec missing: no such file"},
		{[]string{"--", "nothing"}, 125, appOut, "image: 404 Not Found: check the URL"},
		{[]string{"--app", "bad", "--", "exit0"}, 125, "", "app: must not be bad"},
		{[]string{"--json", "--", "exit3"}, 3, `"exit_code": 3`, "out\n"},
		{[]string{"--detach", "--json", "--", "wait"}, 0, `"state": "running"`, ""},
		{[]string{"--detach", "--wait-listening", "--", "wait"}, 0, "-", ""},
		{[]string{"--detach", "--wait-listening", "--json", "--", "wait"}, 0, `"listening": "2`, ""},
		{[]string{"--detach", "--wait-listening", "--", "exit3"}, 125, "-", "ended instead of listening on port 10007: state fail: -\nits last output was:\n  out\n"},
		{[]string{"--wait-listening", "--", "wait"}, 2, "", "only with --detach"},
		{[]string{"--boot-timeout", "soon", "--", "wait"}, 2, "", "--boot-timeout"},
		{nil, 2, "", "a command is needed"},
		{[]string{"--shell", "x", "--", "exit0"}, 2, "", "--shell"},
		{[]string{"--detach", "--rm", "--", "exit0"}, 2, "", "--rm"},
		{[]string{"--memory", "much", "--", "exit0"}, 2, "", "--memory"},
		{[]string{"--memory", "-1", "--", "exit0"}, 2, "", "such as 512M"},
		{[]string{"--io", "read_bps", "--", "exit0"}, 2, "", "--io"},
		{[]string{"--io", "speed=1", "--", "exit0"}, 2, "", "NAME one of read_bps, write_bps, read_iops, write_iops, weight"},
		{[]string{"--io", "read_bps=fast", "--", "exit0"}, 2, "", "read_bps: must be a size"},
		{[]string{"--rlimit", "core=1", "--", "exit0"}, 2, "", "NAME one of nofile, memlock, fsize, nproc"},
		{[]string{"--rlimit", "nofile=", "--", "exit0"}, 2, "", "--rlimit"},
		{[]string{"--cpu-weight", "0", "--", "exit0"}, 2, "", "--cpu-weight"},
		{[]string{"--env", "A", "--", "exit0"}, 2, "", "must be KEY=VALUE"},
		{[]string{"--env-file", "/does/not/exist", "--", "exit0"}, 2, "", "--env-file"},
	}
	for _, tt := range tests {
		t.Run(strings.Join(tt.args, " "), func(t *testing.T) {
			status, stdout, stderr := m.run(t.Context(), append([]string{"run"}, tt.args...)...)
			if status != tt.status || !strings.Contains(stdout, tt.stdout) || !strings.Contains(stderr, tt.stderr) {
				t.Errorf("got %d\nstdout %q\nstderr %q\nwant %d %q %q", status, stdout, stderr, tt.status, tt.stdout, tt.stderr)
			}
		})
	}
}

func TestRunSendsWhatItIsTold(t *testing.T) {
	m := newMachine(t)
	m.serve()
	file := filepath.Join(t.TempDir(), "env")
	if err := os.WriteFile(file, []byte("# comment\n\nA=file\nB=x=y \n"), 0o600); err != nil {
		t.Fatal(err)
	}
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	status, _, stderr := m.run(t.Context(), "run", "--callback", "http://h/", "--callback-secret-file", secret, "--rm", "--app", "blog", "--name", "web.1", "--image", "/i/x.tar.gz", "--env-file", file, "--env", "A=a,b=c",
		"--memory", "512M", "--cpu", "1.5", "--pids", "64", "--cpu-weight", "50", "--io", "read_bps=10M,write_iops=200", "--io", "write_bps=1M,read_iops=9,weight=7",
		"--rlimit", "nofile=4096", "--rlimit", "nproc=8,memlock=1M,fsize=1G", "--network", "none", "--template", "t", "--boot-timeout", "1m30s", "exit0", "--app", "own")
	if status != 0 {
		t.Fatalf("got %d %s", status, stderr)
	}
	got := m.procs.requests[0]
	want := proc.Request{App: "blog", Name: "web.1", Image: "/i/x.tar.gz", Template: "t", Network: "none", Command: proc.Exec("exit0", "--app", "own"),
		Callback: "http://h/", CallbackSecret: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
		Config: map[string]string{"A": "a,b=c", "B": "x=y "}, Limits: proc.Limits{
			Memory: 512 << 20, CPU: 1.5, Pids: 64, CPUWeight: 50,
			IO:      isolate.IOLimits{Weight: 7, ReadBPS: 10 << 20, WriteBPS: 1 << 20, ReadIOPS: 9, WriteIOPS: 200},
			Rlimits: isolate.ProcessLimits{Nofile: 4096, Nproc: 8, Memlock: 1 << 20, Fsize: 1 << 30},
		}, Supervision: proc.Supervision{BootTimeout: 90}}
	if g, w := toJSON(t, got), toJSON(t, want); g != w {
		t.Errorf("got  %s\nwant %s", g, w)
	}
	if len(m.procs.List()) != 0 {
		t.Error("--rm left the proc")
	}
}

func toJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// Ctrl-C stops the proc, shows the end of its output and gives its status.
func TestRunInterrupted(t *testing.T) {
	m := newMachine(t)
	m.procs.made = make(chan string, 1)
	m.serve()
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	a, stdout, stderr := m.app()
	done := make(chan int, 1)
	go func() { done <- a.run(ctx, []string{"run", "--shell", "sleep inf"}) }() // owner: this test, below
	<-m.procs.made
	interrupt()
	if status := <-done; status != 143 || stdout.String() != appOut {
		t.Errorf("got %d %q %q", status, stdout, stderr)
	}
	if p := m.procs.List()[0]; p.State != proc.Fail {
		t.Errorf("the proc is left in %s", p.State)
	}
}

func TestVerbs(t *testing.T) {
	m := newMachine(t)
	soon := time.Now().Add(100 * time.Second)
	m.procs.callbacks = []proc.Callback{
		{ID: "gone-3", Proc: "gone", App: "blog", Name: "web.2", ProcState: "fail", State: "dead", Attempts: 300, LastError: "the receiver answered \x1b 500"},
		{ID: "here-1", Proc: "here", App: "blog", Name: "web.1", ProcState: "init", State: "pending", NextTry: &soon},
	}
	m.serve()
	_, id, _ := m.run(t.Context(), "run", "--detach", "--app", "blog", "--name", "web.1", "--", "wait")
	id = strings.TrimSpace(id)
	m.run(t.Context(), "run", "--app", "shop", "--name", "esc\x1b[2J", "--", "exit3")
	other := m.procs.List()[1].ID

	m.run(t.Context(), "run", "--app", "twice", "--name", "w", "--", "exit0")
	m.run(t.Context(), "run", "--app", "twice", "--name", "w", "--", "exit0")
	newest := m.procs.List()[3].ID
	m.run(t.Context(), "run", "--app", "bent", "--name", "w", "--", "exit0")
	m.run(t.Context(), "run", "--app", "flood", "--name", "w", "--", "flood")

	tests := []struct {
		args   string
		status int
		stdout string // each of these, separated by |
		stderr string
	}{
		{"ps", 0, "ID        APP    NAME|" + id[:8] + "  blog   web.1    running (listening)  10007  0s   [\"wait\"]|fail (3)|esc·[2J", ""},
		{"ps --app blog --json", 0, `"procs": [|` + id, ""},
		{"ps --quiet --state fail", 0, other + "\n", ""},
		{"ps --state asleep", 1, "", "state: must be"},
		{"inspect blog/web.1", 0, `"id": "` + id, ""},
		{"inspect " + id[:13], 0, `"id": "` + id, ""},
		{"inspect twice/w", 0, `"id": "` + newest, ""},
		{"inspect --plan blog/web.1", 0, "sandbox " + id + "\n", ""},
		{"inspect --plan --json blog/web.1", 0, `"id": "` + id, ""},
		{"inspect --verify blog/web.1", 0, "the kernel enforces the plan\n", ""},
		{"inspect --verify --json blog/web.1", 0, `"differences": []`, ""},
		{"inspect --verify bent/w", 1, `umask: want "0022", got "0000"`, "differs from the plan in 1 points"},
		{"inspect --verify --plan blog/web.1", 2, "", "--plan: not together"},
		{"run --dry-run --app shop -- true", 0, "sandbox planned\n", ""},
		{"run --dry-run --json --app shop -- true", 0, `"hostname": "shop"`, ""},
		{"inspect nobody", 1, "", `no proc is called "nobody"`},
		{"inspect 00000000-0000-4000-8000-000000000000", 1, "", "no such proc"},
		{"logs " + id, 0, appOut, appErr},
		{"logs --tail 2 " + id, 0, "partial", ""},
		{"logs -t " + other, 0, "2026-01-02T03:04:05.000000Z out\n", "Z err\n"},
		{"logs --json --tail 1 -f " + other, 0, `"stream":"stdout","text":"","bytes":"dGlhbCD/"`, ""},
		{"logs --tail x " + id, 2, "", "--tail"},
		{"logs --since 2026-01-02T04:04:05+01:00 " + other, 0, "out\n", "err\n"},
		{"logs --since 1 " + id, 2, "", "must be how long ago"},
		{"logs flood/w", 0, "[7 bytes not kept]\nout\n", "[9 bytes not kept]\n[5 bytes not kept]\n"},
		{"logs --since 1m flood/w", 0, "", "[5 bytes not kept]\n"},
		{"logs --json flood/w", 0, `"stream":"stdout","text":"","lost":7}`, ""},
		{"template ls", 0, "default  -        Debian  -     0      ", ""},
		{"template ls --json", 0, `"name": "default"`, ""},
		{"template adopt new /srv/x", 0, "template new: " + m.dir + "/template", ""},
		{"stop --grace soon x", 2, "", "--grace"},
		{"stop --json blog/web.1", 0, `"signal": "SIGTERM"`, ""},
		{"rm --grace 0s nobody blog/web.1", 1, id, "nobody: no proc is called"},
		{"rm", 2, "", "requires at least 1 arg"},
		{"callbacks ls", 0, "ID      APP   NAME   TELLS  STATE    AGE|gone-3  blog  web.2  fail   dead|300    -     the receiver answered · 500|pending|  0      1m    -", ""},
		{"callbacks ls --quiet --state dead", 0, "gone-3\n", ""},
		{"callbacks ls --json --state pending", 0, `"callbacks": [|"id": "here-1"`, ""},
		{"callbacks ls --state alive", 1, "", "state: must be pending or dead"},
		{"callbacks ls --proc " + id, 0, "ID", ""},
		{"callbacks retry none gone-3", 1, "gone-3\n", "none: no such callback"},
		{"callbacks retry --json gone-3", 0, `"attempts": 300`, ""},
		{"callbacks rm here-1 gone-3", 1, "gone-3\n", "here-1: the callback is not a dead letter"},
		{"callbacks rm", 2, "", "requires at least 1 arg"},
		{"run --callback http://h/ --callback-secret-file /does/not/exist x", 2, "", "--callback-secret-file"},
		{"version", 0, "hypervisor dev (commit unknown, go1.", ""},
		{"version --json", 0, `"version": "dev"`, ""},
		{"nonsense", 2, "", "unknown command"},
		{"ps --nonsense", 2, "", "unknown flag"},
	}
	for _, tt := range tests {
		t.Run(tt.args, func(t *testing.T) {
			status, stdout, stderr := m.run(t.Context(), strings.Fields(tt.args)...)
			if status != tt.status || !strings.Contains(stderr, tt.stderr) {
				t.Errorf("got %d %q %q", status, stdout, stderr)
			}
			for want := range strings.SplitSeq(tt.stdout, "|") {
				if !strings.Contains(stdout, want) {
					t.Errorf("no %q in\n%s", want, stdout)
				}
			}
		})
	}
}

func TestLogsInterrupted(t *testing.T) {
	m := newMachine(t)
	m.serve()
	_, id, _ := m.run(t.Context(), "run", "--detach", "--", "wait")
	ctx, interrupt := context.WithCancel(t.Context())
	a, stdout, stderr := m.app()
	done := make(chan int, 1)
	go func() { done <- a.run(ctx, []string{"logs", "-f", strings.TrimSpace(id)}) }() // owner: this test, below
	<-stdout.has("partial")
	interrupt()
	if status := <-done; status != exitInterrupted || strings.Contains(stderr.String(), "hypervisor:") {
		t.Errorf("got %d %q", status, stderr)
	}
}

func TestNoDaemon(t *testing.T) {
	m := newMachine(t)
	for _, args := range [][]string{{"ps"}, {"ps", "--socket", "/does/not/exist"}, {"ps", "--url", "http://127.0.0.1:1", "--token-file", "token"}} {
		t.Chdir(t.TempDir())
		if err := os.WriteFile("token", []byte(strings.Repeat("t", minToken)), 0o600); err != nil {
			t.Fatal(err)
		}
		status, _, stderr := m.run(t.Context(), args...)
		if status != 1 || !strings.Contains(stderr, "sudo hypervisor serve") {
			t.Errorf("%v: got %d %q", args, status, stderr)
		}
	}
	if status, _, stderr := m.run(t.Context(), "ps", "--url", "http://127.0.0.1:1"); status != 1 || !strings.Contains(stderr, "--token-file") {
		t.Errorf("no token file: got %d %q", status, stderr)
	}
	for _, bad := range []string{"ftp://x", "127.0.0.1:9000", "http://u:p@h", "http://h/v1"} {
		if status, _, stderr := m.run(t.Context(), "ps", "--url", bad); status != 2 || !strings.Contains(stderr, "--url") {
			t.Errorf("--url %s: got %d %q", bad, status, stderr)
		}
	}
}

func TestPrinted(t *testing.T) {
	var list server.ProcList
	if err := json.Unmarshal([]byte(`{"procs":[{"id":"x","state":"fail","oom_killed":true},{"id":"y","state":"fail","signal":"SIGKILL"},{"id":"z","state":"fail"},{"id":"w","state":"done"}]}`), &list); err != nil {
		t.Fatal(err)
	}
	want := []string{"fail (out of memory)", "fail (SIGKILL)", "fail (not started)", "done"}
	for i, p := range list.Procs {
		if got := stateCell(p); got != want[i] {
			t.Errorf("got %s, want %s", got, want[i])
		}
	}
	if got := cell(strings.Repeat("é", 99)); len([]rune(got)) != maxCell || !strings.HasSuffix(got, "…") {
		t.Errorf("got %q", got)
	}
	for d, want := range map[int]string{-5e9: "0s", 3e9: "3s", 7200e9: "2h", 300e9: "5m", 864000e9: "10d"} {
		if got := age(time.Duration(d)); got != want {
			t.Errorf("age: got %s, want %s", got, want)
		}
	}
}
