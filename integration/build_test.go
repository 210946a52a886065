//go:build integration

package integration

import (
	"archive/tar"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/gilliam/hypervisor/integration/testbed"
	"github.com/gilliam/hypervisor/rootfs"
	"github.com/gilliam/hypervisor/rootfs/debian/archivetest"
	"github.com/gilliam/hypervisor/rootfs/workdir"
)

// newSuite is a small Debian archive with a whole system in it and two packages.
func newSuite(t *testing.T) *archivetest.Archive {
	t.Helper()
	a := archivetest.New(t, "tiny")
	a.Add(archivetest.Base(testbed.TemplateDir()))
	for name, script := range map[string]string{"hello": "#!/bin/sh\necho hello >/etc/hello\n", "more": "#!/bin/sh\necho more >/etc/more\n"} {
		a.Add(archivetest.Package{
			Control: "Package: " + name + "\nVersion: 1\nArchitecture: all\nMaintainer: t\nDescription: t\n",
			Scripts: map[string]string{"postinst": script},
			Files:   []tar.Header{{Name: "./usr/" + name, Mode: 0o644}}, Data: map[string]string{"./usr/" + name: "x"},
		})
	}
	return a
}

// template runs a verb of template on a state folder.
func templateVerb(binary, state string, environ []string, args ...string) (string, error) {
	cmd := exec.Command(binary, append([]string{"template"}, args...)...)
	cmd.Args = append(cmd.Args, "--state-dir", state, "--run-dir", filepath.Join(filepath.Dir(state), "run"))
	cmd.Env = append(slices.Clone(env), environ...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// steps are the failpoints on the way of a template that is built for the first time.
func steps(t *testing.T) []string {
	t.Helper()
	var points []string
	hit := regexp.MustCompile(`failpoint\.Hit\("(template\.[^"]+)"\)`)
	must(t, filepath.WalkDir("../rootfs", func(path string, e fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".go" {
			return err
		}
		text, err := os.ReadFile(path)
		for _, m := range hit.FindAllStringSubmatch(string(text), -1) {
			points = append(points, m[1])
		}
		return err
	}))
	// On other ways: a template that is imported, a folder that is taken over, and a
	// version that is removed.
	others := []string{"template.filled", "template.adopted", "template.gone", "template.unpointed"}
	points = slices.DeleteFunc(points, func(p string) bool { return slices.Contains(others, p) })
	if slices.Sort(points); len(points) < 12 {
		t.Fatalf("only %d failpoints found: %q", len(points), points)
	}
	return points
}

// A build is killed at each of its steps. The next start of a daemon leaves nothing
// of it, or a template that is whole, and the next build makes it.
func TestBuildCrashes(t *testing.T) {
	binary, err := crashable()
	must(t, err)
	suite := newSuite(t)
	build := []string{"build", "small", "--suite", "tiny", "--mirror", suite.Serve(), "--keyring", suite.Keyring, "--include", "hello"}
	for _, point := range steps(t) {
		t.Run(point, func(t *testing.T) {
			testbed.Leaves(t)
			state := filepath.Join(t.TempDir(), "state")
			run := filepath.Join(filepath.Dir(state), "run")
			out, err := templateVerb(binary, state, []string{"GILLIAM_FAILPOINT=" + point}, build...)
			if exit, ok := err.(*exec.ExitError); !ok || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
				t.Fatalf("the build never got there: %v\n%s", err, out)
			}
			d := newDaemon(t, state, portRange(), "--run-dir", run)
			d.start()
			d.stop()
			for _, pattern := range []string{state + "/.debian-*", state + "/templates/.template-*", state + "/templates/*/.*", run + "/*"} {
				if left, err := filepath.Glob(pattern); err != nil || len(left) > 0 {
					t.Errorf("left behind: %q %v", left, err)
				}
			}
			if out, err := templateVerb(binary, state, nil, build...); err != nil {
				t.Errorf("the next build: %v\n%s", err, out)
			}
		})
	}
}

// What a killed build has left is found while a daemon runs, and removed when that is
// asked for; what somebody works on is not.
func TestBuildLeftovers(t *testing.T) {
	testbed.Leaves(t)
	binary, err := crashable()
	must(t, err)
	suite := newSuite(t)
	state := filepath.Join(t.TempDir(), "state")
	run := filepath.Join(filepath.Dir(state), "run")
	d := serveIn(t, state, portRange(), "--run-dir", run, "--audit-interval", "1h")
	busy, err := workdir.Make(state, ".debian-")
	must(t, err)
	t.Cleanup(func() { must(t, busy.Remove()) })
	draft, err := rootfs.OpenTemplates(rootfs.TemplatesConfig{Dir: filepath.Join(state, "templates")}).Draft("busy")
	must(t, err)
	t.Cleanup(func() { must(t, draft.Discard()) })
	if r := d.cli(t, "doctor"); r.code != 0 {
		t.Errorf("while somebody builds: %s", r)
	}
	out, err := templateVerb(binary, state, []string{"GILLIAM_FAILPOINT=template.unpacked"}, "build", "small", "--suite", "tiny",
		"--mirror", suite.Serve(), "--keyring", suite.Keyring, "--include", "hello")
	if exit, ok := err.(*exec.ExitError); !ok || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Fatalf("the build never got there: %v\n%s", err, out)
	}
	if r := d.cli(t, "doctor"); r.code != 1 || strings.Count(r.stdout, "leak ") != 2 || !strings.Contains(r.stdout, "leak    build .debian-") ||
		!strings.Contains(r.stdout, "leak    template .template-") || strings.Contains(r.stdout, filepath.Base(busy.Path)) {
		t.Errorf("got %s", r)
	}
	if r := d.cli(t, "doctor", "--repair"); r.code != 0 || strings.Count(r.stdout, "removed ") != 2 {
		t.Errorf("got %s", r)
	}
	for pattern, want := range map[string][]string{
		state + "/.debian-*": {busy.Path}, state + "/templates/.template-*": {filepath.Dir(draft.Dir)}, run + "/ids/*": nil,
	} {
		if left, err := filepath.Glob(pattern); err != nil || !slices.Equal(left, want) {
			t.Errorf("%s: got %q, %v, want %q", pattern, left, err, want)
		}
	}
	if r := d.cli(t, "doctor"); r.code != 0 {
		t.Errorf("after the repair: %s", r)
	}
}

// A template gets more packages as a new version; procs run on both.
func TestTemplateApt(t *testing.T) {
	testbed.Leaves(t)
	suite := newSuite(t)
	state := filepath.Join(t.TempDir(), "state")
	out, err := templateVerb(*hypervisor, state, nil, "build", "small", "--suite", "tiny", "--mirror", suite.Serve(), "--keyring", suite.Keyring, "--include", "hello")
	if err != nil || !strings.Contains(out, "template small: 2 packages in ") {
		t.Fatalf("%v\n%s", err, out)
	}
	old, err := os.Readlink(filepath.Join(state, "templates/small/current"))
	must(t, err)
	out, err = templateVerb(*hypervisor, state, nil, "apt", "small", "install", "more", "--keyring", suite.Keyring, "-v")
	if err != nil || !strings.Contains(out, "Setting up more (1)") {
		t.Fatalf("%v\n%s", err, out)
	}
	d := serveIn(t, state, portRange(), "--run-dir", filepath.Join(filepath.Dir(state), "run"))
	for ref, want := range map[string]string{"small": "hello\nmore\n", "small@" + old: "hello\n"} {
		cmd := exec.Command(*hypervisor, "run", "--rm", "--socket", d.socket, "--template", ref, "--", "/bin/sh", "-c", "cat /etc/hello /etc/more 2>/dev/null")
		if got, _ := cmd.Output(); string(got) != want {
			t.Errorf("on %s: %q, want %q", ref, got, want)
		}
	}
}
