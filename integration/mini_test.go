//go:build integration

package integration

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gilliam/hypervisor/server"
	"github.com/gilliam/hypervisor/server/proc"
)

// serveBare starts a daemon that has no template but what is built in.
func serveBare(t *testing.T) *daemon {
	t.Helper()
	return serve(t, "--template", "")
}

// On a machine without a template apps run on the one that is built in, and the
// daemon says so.
func TestMini(t *testing.T) {
	d := serveBare(t)
	if !strings.Contains(d.log(), "procs that name none run on mini") {
		t.Errorf("it does not say on what apps run:\n%s", d.log())
	}
	for name, c := range map[string]struct {
		args []string
		want result
		part bool // of stderr only a part is given
	}{
		"identity":        {args: []string{"/usr/bin/id"}, want: result{"uid=1000(gilliam) gid=1000(gilliam) groups=1000(gilliam)\n", "", 0}},
		"by name":         {args: []string{"--template", "mini", "--", "/bin/echo", "a  b", "'c'"}, want: result{"a  b 'c'\n", "", 0}},
		"both streams":    {args: []string{"--shell", "echo out; echo err >&2"}, want: result{"out\n", "err\n", 0}},
		"exit status":     {args: []string{"--shell", "exit 3"}, want: result{"", "", 3}},
		"a signal":        {args: []string{"--shell", "kill -9 $$"}, want: result{"", "", 137}},
		"quoting":         {args: []string{"sh", "-c", `printf '<%s>' "$@" "$(echo a"b c")" 'd"e'; echo "${HOME}"`, "sh", "x y", "", "z"}, want: result{"<x y><><z><ab c><d\"e>/app\n", "", 0}},
		"a pipe":          {args: []string{"--shell", "seq 100 | grep 7 | wc -l; ls / | sort -r | head -n 1"}, want: result{"19\nvar\n", "", 0}},
		"no such program": {args: []string{"--shell", "nothing-like-it"}, want: result{"", "command not found", 127}, part: true},
		"exec":            {args: []string{"--shell", "a=$$; exec sh -c \"[ \\$\\$ = $a ] && echo the same\""}, want: result{"the same\n", "", 0}},
		"read-only":       {args: []string{"--shell", "touch /app/x 2>/dev/null || echo kept; touch /tmp/y && ls /tmp; . /etc/os-release; echo $ID"}, want: result{"kept\ny\ngilliam-mini\n", "", 0}},
		"heredoc":         {args: []string{"sh", "-c", "cat <<E >/tmp/f; exec cat </tmp/f\nport ${PORT:+set}\nE\n"}, want: result{"port set\n", "", 0}},
	} {
		t.Run(name, func(t *testing.T) {
			got := d.cli(t, "run", append([]string{"--rm"}, c.args...)...)
			if c.part && strings.Contains(got.stderr, c.want.stderr) {
				c.want.stderr = got.stderr
			}
			if got != c.want {
				t.Errorf("got %s\nwant %s", got, c.want)
			}
		})
	}
	// The shell has become its last command: nobody else is there.
	matches(t, d.cli(t, "run", "--rm", "--shell", "true; ps -e"), 0, `PID +USER +COMMAND\n1 +root +\S*sandbox-init\n\d+ +gilliam +ps -e\n`)
	matches(t, d.cli(t, "template", "ls"), 0, `NAME +VERSION +OS +SIZE +PROCS +AGE\nmini +[0-9a-f]{16} +Gilliam mini +\d.*MiB +0 .*\n`)
	matches(t, d.cli(t, "template", "verify", "mini"), 0, `template mini@[0-9a-f]{16}: as it was sealed, \d+ files, .*MiB\n`)
}

// A web server on it answers, and a stop reaches it at once.
func TestMiniServes(t *testing.T) {
	d := serveBare(t)
	images := serveImages(t, map[string][]byte{"www.tar.gz": pack(t, file{name: "index.html", content: "hello\n"}, file{name: "sub/x", content: "x\n"})})
	p := d.create(proc.Request{Image: images + "www.tar.gz", Command: proc.Shell("echo up; exec httpd -f -h /app")})
	d.until(p.ID, "listening", func(p proc.Proc) bool { return p.Listening != nil })
	if got := page(t, p.Port); got != "hello\n" {
		t.Errorf("got %q", got)
	}
	d.follow(p.ID).until("stdout: up")
	if q := d.get(p.ID); q.Template != "mini" || len(q.TemplateVersion) != 16 {
		t.Errorf("on template %s@%s", q.Template, q.TemplateVersion)
	}
	a := d.do(http.MethodDelete, "/v1/templates/mini", nil)
	if a.status != http.StatusConflict || !strings.Contains(string(a.body), "is in use") {
		t.Errorf("removed: %s", a)
	}
	if got := d.stopProc(p.ID, ""); got.ExitCode == nil || *got.ExitCode != 0 {
		t.Errorf("got %+v", got)
	}
	d.want(http.StatusNoContent, http.MethodDelete, "/v1/templates/mini", nil, nil)
	// It is unpacked again when it is asked for.
	if q := d.run(proc.Request{Command: proc.Exec("true")}); q.State != proc.Done {
		t.Errorf("got %+v", q)
	}
	var all server.TemplateVersions
	d.want(http.StatusOK, http.MethodGet, "/v1/templates/mini", nil, &all)
	if len(all.Versions) != 1 || all.Versions[0].Version == "" || all.Versions[0].Path == "" {
		t.Errorf("got %+v", all)
	}
}

// With the template in it the program is still small.
func TestSize(t *testing.T) {
	static := filepath.Join(t.TempDir(), "hypervisor")
	must(t, goBuild(static, "../cmd/hypervisor", "CGO_ENABLED=0", "-trimpath", "-ldflags", "-s -w"))
	fi, err := os.Stat(static)
	must(t, err)
	if fi.Size() >= 40<<20 {
		t.Errorf("the hypervisor has %d bytes, and should have less than 40 MiB", fi.Size())
	}
	t.Logf("%d bytes", fi.Size())
}
