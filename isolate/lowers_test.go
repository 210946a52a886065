//go:build integration

package isolate_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/gilliam/hypervisor/integration/testbed"
	"github.com/gilliam/hypervisor/isolate"
)

// lowers makes n layers above the template, the topmost first. Each has a file of
// its own and its number in one that all have; the topmost takes /etc/motd away and
// replaces all of /opt, in which the one below has a file.
func lowers(tb *testing.T, n int) []string {
	tb.Helper()
	top := tb.TempDir()
	all := make([]string, n)
	for i := range all {
		dir := filepath.Join(top, fmt.Sprint(i))
		must(tb, errors.Join(
			os.MkdirAll(filepath.Join(dir, "layers"), 0o755), os.Chmod(dir, 0o755), os.Chmod(filepath.Join(dir, "layers"), 0o755),
			os.WriteFile(filepath.Join(dir, "layers", fmt.Sprint(i)), nil, 0o644),
			os.WriteFile(filepath.Join(dir, "layers/which"), fmt.Appendln(nil, i), 0o644)))
		all[i] = dir
	}
	must(tb, errors.Join(
		os.Mkdir(filepath.Join(all[0], "etc"), 0o755), unix.Mknod(filepath.Join(all[0], "etc/passwd"), unix.S_IFCHR, 0),
		os.Mkdir(filepath.Join(all[0], "opt"), 0o755), unix.Setxattr(filepath.Join(all[0], "opt"), "trusted.overlay.opaque", []byte("y"), 0),
		os.Mkdir(filepath.Join(all[1], "opt"), 0o755), os.WriteFile(filepath.Join(all[1], "opt/hidden"), nil, 0o644),
		os.Lchown(filepath.Join(all[1], "layers/1"), 1000, 33)))
	return all
}

// A root of as many layers as an image of containers has, and of as many as
// overlayfs takes: the topmost has the say, and owners are those of the sandbox.
func TestLowers(t *testing.T) {
	testbed.Leaves(t)
	e := testbed.Engine(t)
	for _, n := range []int{2, 40, 499} {
		s := spec(t, sh(`cat /layers/which; ls /layers | wc -l; ls -A /opt; test -e /etc/passwd; echo $?
			stat -c '%u %g %n' /layers/1 /layers/0; grep ' / / ' /proc/self/mountinfo | tr , '\n' | grep lowerdir | tr -cd '+:' | tr + : | wc -c
			rm /layers/1 && touch /layers/1 && echo changed`)...)
		s.Lowers = lowers(t, n)
		s.User = isolate.User{}
		s.Capabilities = isolate.RootCapabilities
		run, err := launch(t, e, s)
		must(t, err)
		out, exit := run.finish(t)
		want := fmt.Sprintf("0\n%d\n1\n1000 33 /layers/1\n0 0 /layers/0\n%d\nchanged\n", n+1, n)
		if out != want || exit.Code != 0 {
			t.Errorf("%d layers: got %+v\n%swant\n%s", n, exit, out, want)
		}
		if _, err := os.Stat(filepath.Join(s.Lowers[1], "layers/1")); err != nil {
			t.Error(err)
		}
	}
}

// A layer that is not there, or cannot be idmapped, is named.
func TestLowersMissing(t *testing.T) {
	testbed.Leaves(t)
	e := testbed.Engine(t)
	for path, want := range map[string]string{"/no/such/layer": "idmap /no/such/layer: no such file", "/proc": "idmap /proc: its file system cannot be"} {
		s := spec(t, "true")
		s.Lowers = append(lowers(t, 2), path)
		if _, err := launch(t, e, s); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}
