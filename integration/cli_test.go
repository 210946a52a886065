//go:build integration

package integration

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/gilliam/hypervisor/server"
	"github.com/gilliam/hypervisor/server/proc"
)

// The run verb shows what the proc writes where the proc wrote it, and ends as
// the proc did.
func TestCommandRun(t *testing.T) {
	images := serveImages(t, map[string][]byte{"app.tar.gz": pack(t, file{name: "hello", content: "hello\n"})})
	d := serve(t)
	envFile := filepath.Join(t.TempDir(), "env")
	must(t, os.WriteFile(envFile, []byte("# colors\nCOLOR=blue\nSIZE=big\n"), 0o600))
	for name, c := range map[string]struct {
		args []string
		want result
		part bool // of stderr only a part is given
	}{
		"both streams":     {args: []string{"--shell", "echo out; echo err >&2"}, want: result{"out\n", "err\n", 0}},
		"a command":        {args: []string{"--", "/bin/echo", "--rm", "a  b"}, want: result{"--rm a  b\n", "", 0}},
		"exit status":      {args: []string{"--shell", "echo bad >&2; exit 3"}, want: result{"", "bad\n", 3}},
		"a signal":         {args: []string{"--shell", "kill -9 $$"}, want: result{"", "", 137}},
		"an image":         {args: []string{"--image", images + "app.tar.gz", "cat", "hello"}, want: result{"hello\n", "", 0}},
		"environment":      {args: []string{"--env-file", envFile, "--env", "COLOR=red, green", "--shell", "echo $COLOR $SIZE"}, want: result{"red, green big\n", "", 0}},
		"no such program":  {args: []string{"no-such-program"}, want: result{"", "no-such-program: no such file or directory", 127}, part: true},
		"not executable":   {args: []string{"/etc/passwd"}, want: result{"", "/etc/passwd: permission denied", 126}, part: true},
		"out of memory":    {args: []string{"--memory", "32M", "python3", "-c", "b = bytearray(256 << 20)"}, want: result{"", "out of memory", 137}, part: true},
		"no such image":    {args: []string{"--image", images + "none", "true"}, want: result{"", "404", 125}, part: true},
		"no such template": {args: []string{"--template", "none", "true"}, want: result{"", `"none"`, 125}, part: true},
		"a bad name":       {args: []string{"--app", "no/slash", "true"}, want: result{"", "app: must begin with", 125}, part: true},
		"nothing to do":    {want: result{"", "a command is needed", 2}, part: true},
		"a bad size":       {args: []string{"--memory", "much", "true"}, want: result{"", "--memory", 2}, part: true},
		"an unknown flag":  {args: []string{"--colour", "red", "true"}, want: result{"", "--colour", 2}, part: true},
	} {
		t.Run(name, func(t *testing.T) {
			got := d.cli(t, "run", c.args...)
			if c.part && strings.Contains(got.stderr, c.want.stderr) {
				c.want.stderr = got.stderr
			}
			if got != c.want {
				t.Errorf("got %s\nwant %s", got, c.want)
			}
		})
	}
}

func TestCommandRunCleansUp(t *testing.T) {
	d := serve(t)
	if r := d.cli(t, "run", "--rm", "--shell", "exit 4"); r.code != 4 {
		t.Errorf("got %s", r)
	}
	r := d.cli(t, "run", "--json", "--rm", "--name", "tidy", "--shell", "echo out; echo err >&2; exit 4")
	var p proc.Proc
	if err := json.Unmarshal([]byte(r.stdout), &p); err != nil || p.Name != "tidy" || p.ExitCode == nil || *p.ExitCode != 4 || r.code != 4 {
		t.Errorf("--json: %v, got %s", err, r)
	}
	if !strings.Contains(r.stderr, "out\n") || !strings.Contains(r.stderr, "err\n") {
		t.Errorf("--json: got %s", r)
	}
	if got := d.list(""); len(got) != 0 {
		t.Errorf("--rm: got %+v", got)
	}
	d.nothingLeftBut(t)
}

// Ctrl-C stops the proc, and what that says last is still shown.
func TestCommandRunIsInterrupted(t *testing.T) {
	d := serve(t)
	cmd := exec.Command(*hypervisor, "run", "--state-dir", d.stateDir, "--shell", obeys)
	out := &watched{want: "up\n", seen: make(chan struct{})}
	cmd.Stdout, cmd.Env = out, env
	must(t, cmd.Start())
	soon(t, out.seen, "the proc")
	must(t, cmd.Process.Signal(syscall.SIGINT))
	cmd.Wait()
	if cmd.ProcessState.ExitCode() != 0 || out.text.String() != "up\nbye\n" {
		t.Errorf("got %v, %q", cmd.ProcessState, out.text.String())
	}
	if got := d.list("?state=done"); len(got) != 1 {
		t.Errorf("got %+v", d.list(""))
	}
}

// A watched writer tells when something was written to it.
type watched struct {
	want string
	text strings.Builder
	seen chan struct{}
}

func (w *watched) Write(b []byte) (int, error) {
	before := strings.Contains(w.text.String(), w.want)
	w.text.Write(b)
	if !before && strings.Contains(w.text.String(), w.want) {
		close(w.seen)
	}
	return len(b), nil
}

// The other verbs tell of procs, and end them.
func TestCommands(t *testing.T) {
	d := serve(t)
	r := d.cli(t, "run", "--detach", "--app", "blog", "--name", "web.1", "--shell", "echo out; echo err >&2; "+obeys)
	id := strings.TrimSpace(r.stdout)
	if !uuid4.MatchString(id) || r.code != 0 {
		t.Fatalf("run --detach: got %s", r)
	}
	d.follow(id).all("stdout: up", "stderr: err")
	failed := d.run(proc.Request{App: "shop", Command: proc.Shell("exit 7")})

	matches(t, d.cli(t, "ps"), 0, fmt.Sprintf(`ID +APP +NAME +STATE +PORT +AGE +COMMAND\n`+
		`%.8s +blog +web\.1 +running +%d +\d+s +echo out; .*\n%.8s +shop +web\.1 +fail \(7\) +%d +\d+s +exit 7\n`, id, d.get(id).Port, failed.ID, failed.Port))
	matches(t, d.cli(t, "ps", "-q", "--state", "fail"), 0, failed.ID+`\n`)
	matches(t, d.cli(t, "ps", "-q", "--app", "none"), 0, ``)
	if got := jsonOf[server.ProcList](t, d.cli(t, "ps", "--json", "--app", "blog")); len(got.Procs) != 1 || got.Procs[0].ID != id {
		t.Errorf("ps --json: got %+v", got)
	}
	for _, name := range []string{id, id[:8], "blog/web.1"} {
		if got := jsonOf[proc.Proc](t, d.cli(t, "inspect", name)); got.ID != id || got.State != proc.Running {
			t.Errorf("inspect %s: got %+v", name, got)
		}
	}
	if got := d.cli(t, "logs", "blog/web.1"); got != (result{"out\nup\n", "err\n", 0}) {
		t.Errorf("logs: got %s", got)
	}
	if got := jsonOf[server.TemplateList](t, d.cli(t, "template", "ls", "--json")); len(got.Templates) != 2 || got.Templates[0].User != "gilliam" {
		t.Errorf("template ls --json: got %+v", got)
	}
	matches(t, d.cli(t, "template", "ls"), 0, `NAME +VERSION +OS +SIZE +PROCS +AGE\ndefault +- +Debian .* +- +\d+ +\d+.*\nmini +[0-9a-f]{16} +Gilliam mini +- +0 +-\n`)

	followed := make(chan result, 1)
	// Owned by the test, which receives from followed.
	go func() { followed <- d.cli(t, "logs", "-f", id) }()
	matches(t, d.cli(t, "stop", "blog/web.1"), 0, id+`\n`)
	if got := soon(t, followed, "the end of logs -f"); got != (result{"out\nup\nbye\n", "err\n", 0}) {
		t.Errorf("logs -f: got %s", got)
	}
	matches(t, d.cli(t, "logs", "-t", "--tail", "1", "blog/web.1"), 0, `\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z bye\n`)
	matches(t, d.cli(t, "rm", id[:8], failed.ID), 0, id+`\n`+failed.ID+`\n`)
	if got := d.list(""); len(got) != 0 {
		t.Errorf("after rm: got %+v", got)
	}
	for _, verb := range []string{"inspect", "logs", "stop", "rm"} {
		for _, name := range []string{id, "blog/web.1"} {
			if got := d.cli(t, verb, name); got.code != 1 || got.stdout != "" || !strings.Contains(got.stderr, "no ") {
				t.Errorf("%s %s: got %s", verb, name, got)
			}
		}
		if got := d.cli(t, verb); got.code != 2 || !strings.Contains(got.stderr, "--help") {
			t.Errorf("%s: got %s", verb, got)
		}
	}
	matches(t, command(t, "ps", "--url", "http://"+d.tcp, "--state-dir", d.stateDir, "-q"), 0, ``)
	got := command(t, "ps", "--url", "http://"+d.tcp, "--token-file", filepath.Join(d.stateDir, "lock"))
	if got.code != 1 || got.stdout != "" || !strings.Contains(got.stderr, "token") {
		t.Errorf("ps with a file that is no token: got %s", got)
	}
}

// Without a daemon every verb that asks one says what to do; the others work.
func TestCommandsWithoutDaemon(t *testing.T) {
	for _, c := range []struct {
		code       int
		verb, args []string
	}{
		{1, []string{"ps"}, nil}, {1, []string{"inspect"}, []string{"x"}}, {1, []string{"logs"}, []string{"x"}}, {1, []string{"stop"}, []string{"x"}},
		{1, []string{"rm"}, []string{"x"}}, {1, []string{"template", "ls"}, nil}, {125, []string{"run"}, []string{"true"}},
	} {
		got := command(t, slices.Concat(c.verb, []string{"--state-dir", t.TempDir()}, c.args)...)
		if got.code != c.code || got.stdout != "" || !strings.Contains(got.stderr, "no daemon answers") || !strings.Contains(got.stderr, "hypervisor serve") {
			t.Errorf("%q: got %s", c.verb, got)
		}
	}
	matches(t, command(t, "version"), 0, `hypervisor \S+ \(commit \S+, go1\.\S+.*\)\n`)
	if got := jsonOf[server.Version](t, command(t, "version", "--json")); got.Version == "" || got.Commit == "" || !strings.HasPrefix(got.Go, "go1.") {
		t.Errorf("version --json: got %+v", got)
	}
	if got := command(t, "frobnicate"); got.code != 2 || !strings.Contains(got.stderr, "frobnicate") {
		t.Errorf("an unknown verb: got %s", got)
	}
}
