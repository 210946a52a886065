//go:build integration

package integration

import (
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/gilliam/hypervisor/integration/testbed"
	"github.com/gilliam/hypervisor/server"
	"github.com/gilliam/hypervisor/server/proc"
)

// A source is a folder that templates are imported from: mini, with a file of our
// own.
type source struct {
	*daemon
	t   *testing.T
	dir string
}

// newSource copies mini out of the daemon's store.
func newSource(t *testing.T, d *daemon) source {
	t.Helper()
	if p := d.run(proc.Request{Template: "mini", Command: proc.Exec("true")}); p.State != proc.Done {
		t.Fatalf("got %+v", p)
	}
	s := source{d, t, filepath.Join(t.TempDir(), "source")}
	if out, err := exec.Command("cp", "-a", d.template("mini").Path, s.dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return s
}

// template is the current version of a template.
func (d *daemon) template(name string) server.Template {
	d.tb.Helper()
	var all server.TemplateVersions
	d.want(http.StatusOK, http.MethodGet, "/v1/templates/"+name, nil, &all)
	return all.Versions[0]
}

// change makes the source another one.
func (s source) change(text string) {
	s.t.Helper()
	must(s.t, os.WriteFile(filepath.Join(s.dir, "etc/motd"), []byte(text+"\n"), 0o644))
}

// imported makes the source with this text in it the template web.
func (s source) imported(text string) server.Template {
	s.t.Helper()
	s.change(text)
	if r := s.cli(s.t, "template", "import", "web", s.dir); r.code != 0 {
		s.t.Fatalf("import: %s", r)
	}
	return s.template("web")
}

func refOf(t server.Template) string { return t.Name + "@" + t.Version }

// Procs stay on the version that they were first launched on: while another one
// is made, when they are started again, and under another daemon. As long as they
// do, nobody removes it.
func TestTemplateVersions(t *testing.T) {
	testbed.Leaves(t)
	d := newDaemon(t, t.TempDir(), portRange(), "--template", "", "--restart-wait", "10ms")
	d.args = slices.DeleteFunc(d.args, func(a string) bool { return a == "--stop-on-exit" })
	d.start()
	s := newSource(t, d)
	first := s.imported("one")
	says := proc.Shell("cat /etc/motd; exec sleep 1000")
	p := d.create(proc.Request{Template: "web", Command: says, Supervision: restart(proc.RestartOnFailure, 10)})
	f := d.follow(p.ID)
	f.until("stdout: one")
	second := s.imported("two")
	if first.Version == second.Version {
		t.Fatalf("got %+v twice", first)
	}
	if got := d.get(p.ID); got.Template != "web" || got.TemplateVersion != first.Version {
		t.Errorf("on %s@%s, want %s", got.Template, got.TemplateVersion, refOf(first))
	}
	for ref, want := range map[string]string{"web": "two", refOf(first): "one", refOf(second): "two"} {
		if r := d.cli(t, "run", "--rm", "--template", ref, "cat", "/etc/motd"); r.stdout != want+"\n" || r.code != 0 {
			t.Errorf("%s: got %s", ref, r)
		}
	}
	d.templateInUse(first)
	again := func(what string) {
		t.Helper()
		before := d.get(p.ID).Restarts
		must(t, syscall.Kill(d.get(p.ID).PID, syscall.SIGKILL))
		d.until(p.ID, "restarted", func(p proc.Proc) bool { return p.State == proc.Running && p.Restarts > before })
		want := slices.Repeat([]string{"stdout: one"}, before+2)
		testbed.Within(t, patience, what, func() bool { return slices.Equal(d.logs(p.ID, ""), want) })
	}
	again("started again on its version")
	d.kill()
	d.start()
	d.templateInUse(first)
	again("started again on its version, by another daemon")

	d.remove(p.ID)
	matches(t, d.cli(t, "template", "prune"), 0, regexp.QuoteMeta(refOf(first))+` .*MiB\n`)
	if r := d.cli(t, "run", "--rm", "--template", refOf(first), "true"); r.code != 125 || !strings.Contains(r.stderr, "does not exist (there is mini@") {
		t.Errorf("got %s", r)
	}
	matches(t, d.cli(t, "template", "rm", "web"), 0, `web\n`)
	matches(t, d.cli(t, "template", "ls"), 0, `NAME .*\nmini .*\n`)
}

// templateInUse checks that a template cannot be removed, nor all of its name.
func (d *daemon) templateInUse(one server.Template) {
	d.tb.Helper()
	for _, ref := range []string{one.Name, refOf(one)} {
		if r := d.cli(d.tb, "template", "rm", ref); r.code != 1 || !strings.Contains(r.stderr, refOf(one)+" is in use: stop the procs that run on it first") {
			d.tb.Errorf("rm %s: %s", ref, r)
		}
	}
	if r := d.cli(d.tb, "template", "prune"); r.code != 0 || strings.Contains(r.stdout, one.Version) {
		d.tb.Errorf("prune: %s", r)
	}
}

// A bit that has changed in a sealed template is found.
func TestTemplateVerify(t *testing.T) {
	d := serveBare(t)
	s := newSource(t, d)
	web := s.imported("one")
	matches(t, d.cli(t, "template", "verify", "web"), 0, regexp.QuoteMeta("template "+refOf(web))+`: as it was sealed, \d+ files, .*MiB\n`)
	must(t, os.WriteFile(filepath.Join(web.Path, "etc/motd"), []byte("ond\n"), 0o644))
	must(t, os.Chmod(filepath.Join(web.Path, "usr/bin/userland"), 0o755|fs.ModeSetuid))
	r := d.cli(t, "template", "verify", "web")
	if r.code != 1 || !strings.Contains(r.stderr, "is not what was sealed: 2 files differ") ||
		!regexp.MustCompile(`^etc/motd: sha256 is .*\nusr/bin/userland: mode is 4755, was 0755\n$`).MatchString(r.stdout) {
		t.Errorf("got %s", r)
	}
}

// File capabilities (capabilities(7)) are sealed with a template, whoever came to
// change them is found out, and they give a program in a sandbox nothing.
func TestTemplateFileCapabilities(t *testing.T) {
	d := serveBare(t)
	s := newSource(t, d)
	sealed := s.imported("plain")
	// cap_net_raw=ep, and with cap_net_admin, as struct vfs_cap_data has them.
	const attr, raw, more = "security.capability", "\x01\x00\x00\x02\x00\x20\x00\x00", "\x01\x00\x00\x02\x00\x30\x00\x00"
	zeros := strings.Repeat("\x00", 12)
	give := func(file, what string) { must(t, unix.Setxattr(file, attr, []byte(what+zeros), 0)) }
	program := "usr/bin/userland"
	differs := func(want string) {
		t.Helper()
		if r := d.cli(t, "template", "verify", "web"); r.code != 1 || !strings.HasPrefix(r.stdout, program+": xattr.security.capability is "+want) {
			t.Errorf("got %s, want %s", r, want)
		}
	}
	give(filepath.Join(sealed.Path, program), raw)
	differs("AQAAAgAgAAAAAAAAAAAAAAAAAAA=, was none\n")
	must(t, unix.Removexattr(filepath.Join(sealed.Path, program), attr))

	give(filepath.Join(s.dir, program), raw)
	web := s.imported("with capabilities")
	matches(t, d.cli(t, "template", "verify", "web"), 0, regexp.QuoteMeta("template "+refOf(web))+": as it was sealed, .*\n")
	if p := d.run(proc.Request{Template: "web", Command: proc.Exec("grep", "CapEff", "/proc/self/status")}); d.output(p.ID) != "CapEff:\t0000000000000000\n" {
		t.Errorf("got %q from %+v", d.output(p.ID), p)
	}
	give(filepath.Join(web.Path, program), more)
	differs("AQAAAgAwAAAAAAAAAAAAAAAAAAA=, was AQAAAgAgAAAAAAAAAAAAAAAAAAA=\n")
	must(t, unix.Removexattr(filepath.Join(web.Path, program), attr))
	differs("none, was AQAAAgAgAAAAAAAAAAAAAAAAAAA=\n")
}

// A template is made, or was not, whenever who makes or removes it is killed: the
// next daemon finds the one before or the new one, whole, and nothing else.
func TestTemplateCrash(t *testing.T) {
	binary, err := crashable()
	must(t, err)
	d := newDaemon(t, t.TempDir(), portRange(), "--template", "")
	d.start()
	s := newSource(t, d)
	s.imported("0")
	d.stop()
	adopted := filepath.Join(d.stateDir, "adopted")
	for n, c := range []struct {
		point string
		verb  []string
	}{
		{"begun", nil}, {"filled", nil}, {"furnished", nil}, {"listed", nil}, {"sealed", nil}, {"published", nil}, {"pointing", nil}, {"pointed", nil},
		{"adopted", []string{"adopt", "web", adopted}},
	} {
		t.Run(c.point, func(t *testing.T) {
			if c.verb == nil {
				c.verb = []string{"import", "web", s.dir}
			}
			s.change(fmt.Sprint(n + 1))
			must(t, exec.Command("cp", "-a", s.dir, adopted).Run())
			cmd := exec.Command(binary, append([]string{"template", "--state-dir", d.stateDir}, c.verb...)...)
			cmd.Env = append(slices.Clone(env), "GILLIAM_FAILPOINT="+templateSteps+c.point)
			if out, err := cmd.CombinedOutput(); cmd.ProcessState.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
				t.Fatalf("it never got there: %v\n%s", err, out)
			}
			d.start()
			got := d.consistent(t)
			switch whole := c.point == "sealed" || c.point == "published" || c.point == "pointing" || c.point == "pointed" || c.point == "adopted"; {
			case whole && got != fmt.Sprint(n+1) && c.point != "published" && c.point != "pointing":
				t.Errorf("the template says %s after all was there of %d", got, n+1)
			case !whole && got == fmt.Sprint(n+1):
				t.Errorf("the template says %s", got)
			}
			s.imported(fmt.Sprint(n + 1))
			if got := d.consistent(t); got != fmt.Sprint(n+1) {
				t.Errorf("imported again: the template says %s, and not %d", got, n+1)
			}
			d.stop()
			must(t, os.RemoveAll(adopted))
		})
	}
	t.Run("gone", func(t *testing.T) {
		d.binary, d.env = binary, []string{"GILLIAM_FAILPOINT=" + templateSteps + "gone"}
		d.start()
		d.do(http.MethodDelete, "/v1/templates/web", nil)
		soon(t, d.exited, "the daemon's end")
		d.binary, d.env = *hypervisor, nil
		d.start()
		d.consistent(t)
		if r := d.cli(t, "template", "rm", "web"); r.code != 0 {
			t.Errorf("removed again: %s", r)
		}
		d.stop()
	})
	if left, err := filepath.Glob(filepath.Join(d.stateDir, "templates", "web")); err != nil || len(left) > 0 {
		t.Errorf("left: %q, %v", left, err)
	}
}

// consistent checks that the store has nothing but whole versions, and returns what
// the current one of web says.
func (d *daemon) consistent(t *testing.T) string {
	t.Helper()
	if left, err := filepath.Glob(filepath.Join(d.stateDir, "templates", ".template-*")); err != nil || len(left) > 0 {
		t.Errorf("left: %q, %v", left, err)
	}
	if left, err := filepath.Glob(filepath.Join(d.stateDir, "templates", "*", ".current-new")); err != nil || len(left) > 0 {
		t.Errorf("left: %q, %v", left, err)
	}
	var all server.TemplateVersions
	d.want(http.StatusOK, http.MethodGet, "/v1/templates/web", nil, &all)
	for _, v := range all.Versions {
		if r := d.cli(t, "template", "verify", refOf(v)); r.code != 0 {
			t.Errorf("verify: %s", r)
		}
	}
	r := d.cli(t, "run", "--rm", "--template", "web", "cat", "/etc/motd")
	if r.code != 0 {
		t.Errorf("run: %s", r)
	}
	return strings.TrimSpace(r.stdout)
}
