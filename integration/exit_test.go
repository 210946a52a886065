//go:build integration

package integration

import (
	"slices"
	"strings"
	"testing"

	"github.com/gilliam/hypervisor/server/proc"
)

// However a program ends, its proc says so.
func TestExit(t *testing.T) {
	images := serveImages(t, map[string][]byte{
		"app.tar.gz": pack(t, file{"plain", "not a program\n", 0o644}, file{"odd", "\x7fELFnothing", 0o755}, file{"script", "exit 5\n", 0o755}),
	})
	d := serve(t)
	const none = -1
	for name, c := range map[string]struct {
		command proc.Command
		memory  int64
		state   proc.State
		code    int
		signal  string
		oom     bool
		reason  string // a part of it
	}{
		"0":       {command: proc.Shell("exit 0"), state: proc.Done},
		"3":       {command: proc.Shell("exit 3"), state: proc.Fail, code: 3, reason: "exit status 3"},
		"255":     {command: proc.Exec("/bin/sh", "-c", "exit 255"), state: proc.Fail, code: 255, reason: "exit status 255"},
		"SIGKILL": {command: proc.Shell("kill -9 $$"), state: proc.Fail, code: 137, signal: "SIGKILL", reason: "SIGKILL"},
		"SIGSEGV": {command: proc.Shell("kill -SEGV $$"), state: proc.Fail, code: 139, signal: "SIGSEGV", reason: "SIGSEGV"},
		"out of memory": {command: proc.Exec("/usr/bin/python3", "-c", "b = bytearray(256 << 20)"), memory: 32 << 20,
			state: proc.Fail, code: 137, signal: "SIGKILL", oom: true, reason: "raise limits.memory"},
		"the shell knows no such command": {command: proc.Shell("no-such-command"), state: proc.Fail, code: 127, reason: "exit status 127"},
		"no such program in the PATH":     {command: proc.Exec("no-such-program"), state: proc.Fail, code: 127, reason: "no-such-program"},
		"no such path":                    {command: proc.Exec("/no/such/program"), state: proc.Fail, code: 127, reason: "no such file"},
		"not executable":                  {command: proc.Exec("/app/plain"), state: proc.Fail, code: 126, reason: "permission denied"},
		"a folder":                        {command: proc.Exec("/app"), state: proc.Fail, code: 126, reason: "permission denied"},
		"not a program":                   {command: proc.Exec("./odd"), state: proc.Fail, code: 126, reason: "exec format error"},
		"a script without #!":             {command: proc.Exec("./script"), state: proc.Fail, code: 126, reason: "exec format error"},
	} {
		t.Run(name, func(t *testing.T) {
			d := d.in(t)
			p := d.run(proc.Request{Image: images + "app.tar.gz", Command: c.command, Limits: proc.Limits{Memory: c.memory}})
			code := none
			if p.ExitCode != nil {
				code = *p.ExitCode
			}
			if p.State != c.state || code != c.code || p.Signal != c.signal || p.OOMKilled != c.oom || !strings.Contains(p.Reason, c.reason) {
				t.Errorf("got state %s, exit code %d, signal %q, out of memory %v, reason %q\nwant %+v", p.State, code, p.Signal, p.OOMKilled, p.Reason, c)
			}
			if c.state == proc.Done && p.Reason != "" {
				t.Errorf("a reason for success: %q", p.Reason)
			}
			ran := !(strings.Contains(p.Reason, "exec ") || strings.Contains(p.Reason, "no such"))
			if p.Ended == nil || p.PID != 0 || ran != (p.Started != nil) {
				t.Errorf("got started %v, ended %v, pid %d", p.Started, p.Ended, p.PID)
			}
			if logs := d.logs(p.ID, ""); !ran && len(logs) > 0 {
				t.Errorf("what never ran has written %q", logs)
			}
		})
	}
}

// A string is the shell's, a list is executed as it is. What an app finds
// around itself is what the original promised.
func TestAppSees(t *testing.T) {
	images := serveImages(t, map[string][]byte{"app.tar.gz": pack(t, file{"hello", "from the image\n", 0o600}, file{"bin/tool", "#!/bin/sh\necho tool $1\n", 0o755})})
	d := serve(t)
	config := map[string]string{"PORT": "1", "HOST": "evil.example", "HOME": "/tmp", "COLOR": "deep blue", "PATH": "/app/bin:/usr/bin:/bin", "EMPTY": ""}
	for name, c := range map[string]struct {
		command proc.Command
		want    func(p proc.Proc) string
	}{
		"a string":     {proc.Shell(`echo "$COLOR" $((2 + 3)) | cat; shopt -q login_shell && echo login`), is("deep blue 5\nlogin\n")},
		"a list":       {proc.Exec("/bin/echo", "$COLOR", "a  b", ";", "*"), is("$COLOR a  b ; *\n")},
		"its PATH":     {proc.Exec("tool", "time"), is("tool time\n")},
		"a path in it": {proc.Exec("bin/tool", "box"), is("tool box\n")},
		"its folder":   {proc.Exec("/bin/pwd"), is("/app\n")},
		"its image": {proc.Shell("cat hello; stat -c '%U %a' hello bin/tool; touch new 2>&1; rm -f hello 2>&1; true"),
			is("from the image\nroot 644\nroot 755\ntouch: cannot touch 'new': Read-only file system\nrm: cannot remove 'hello': Read-only file system\n")},
		"its host name": {proc.Shell("hostname; getent hosts $(hostname) | cut -d' ' -f1"), is("blog-web.1\n127.0.0.1\n")},
		"its environment": {proc.Exec("/usr/bin/env"), func(p proc.Proc) string {
			env := []string{"COLOR=deep blue", "EMPTY=", "HOME=/app", "HOST=" + p.Config["HOST"], "PATH=/app/bin:/usr/bin:/bin", "PORT=" + p.Config["PORT"]}
			slices.Sort(env)
			return strings.Join(env, "\n") + "\n"
		}},
	} {
		t.Run(name, func(t *testing.T) {
			d := d.in(t)
			p := d.run(proc.Request{Image: images + "app.tar.gz", Command: c.command, Config: config})
			if got, want := d.output(p.ID), c.want(p); got != want {
				t.Errorf("got\n%swant\n%s", got, want)
			}
			if p.Config["HOST"] == "evil.example" || p.Config["HOST"] == "" || p.Config["PORT"] == "1" {
				t.Errorf("the client's config has won: %v", p.Config)
			}
		})
	}
}

func is(s string) func(proc.Proc) string { return func(proc.Proc) string { return s } }
