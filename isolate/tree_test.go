//go:build integration

package isolate_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/gilliam/hypervisor/integration/testbed"
	"github.com/gilliam/hypervisor/isolate"
)

// newTree is a folder with a shell and a few programs of the template's, and with
// the folders that a sandbox mounts on.
func newTree(t *testing.T) string {
	t.Helper()
	template, tree := testbed.TemplateDir(), t.TempDir()
	must(t, os.Chmod(tree, 0o755))
	for _, name := range []string{"proc", "sys", "dev", "tmp", "etc"} {
		must(t, os.Mkdir(filepath.Join(tree, name), 0o755))
	}
	copied := []string{"bin", "lib", "lib64"}
	for _, pattern := range []string{
		"usr/bin/bash", "usr/bin/id", "usr/bin/chown", "usr/bin/chmod", "usr/bin/touch", "usr/lib64/ld-*", "usr/lib/*/ld-*",
		"usr/lib/*/libc.so*", "usr/lib/*/libtinfo*", "usr/lib/*/libselinux*", "usr/lib/*/libpcre2-8*",
	} {
		found, err := filepath.Glob(filepath.Join(template, pattern))
		must(t, err)
		for _, path := range found {
			rel, err := filepath.Rel(template, path)
			must(t, err)
			copied = append(copied, rel)
		}
	}
	cp := exec.Command("cp", append([]string{"-a", "--parents", "--target-directory", tree}, copied...)...)
	cp.Dir = template
	if out, err := cp.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return tree
}

// treeSpec runs a line as root of a tree with the capabilities that maintainer
// scripts need.
func treeSpec(t *testing.T, tree, line string) isolate.Spec {
	t.Helper()
	s := spec(t, "/bin/bash", "-c", line)
	s.Template, s.Layer, s.Tree = "", isolate.Layer{}, tree
	s.User, s.Dir = isolate.User{}, "/"
	s.Capabilities = isolate.RootCapabilities
	return s
}

// What root of a tree's sandbox makes is the host root's on the disk, what it
// gives away has the number that it gave, and setuid bits stay. Nothing of the
// sandbox stays mounted on the tree.
func TestTreeIsKept(t *testing.T) {
	testbed.Leaves(t)
	tree := newTree(t)
	r, err := launch(t, testbed.Engine(t), treeSpec(t, tree, `set -e
		echo made >/etc/made; touch /etc/given /tmp/gone; chown 7:33 /etc/given; chmod 4755 /etc/made; id -u`))
	must(t, err)
	if text, exit := r.finish(t); text != "0\n" || exit.Code != 0 {
		t.Fatalf("%q %+v", text, exit)
	}
	for name, want := range map[string]string{"made": "0:0 104755", "given": "7:33 100644"} {
		fi, err := os.Lstat(filepath.Join(tree, "etc", name))
		must(t, err)
		st := fi.Sys().(*syscall.Stat_t)
		if got := fmt.Sprintf("%d:%d %o", st.Uid, st.Gid, st.Mode); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	for _, name := range []string{"dev", "proc", "sys", "tmp"} {
		if left, err := os.ReadDir(filepath.Join(tree, name)); err != nil || len(left) > 0 {
			t.Errorf("%s on the disk holds %v %v", name, left, err)
		}
	}
}

// Root of a tree's sandbox, with all its capabilities, has no way out of the tree.
func TestTreeHoldsRoot(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "outside")
	must(t, os.WriteFile(outside, []byte("secret"), 0o600))
	r, err := launch(t, testbed.Engine(t), treeSpec(t, newTree(t), `
		for f in `+outside+` /..`+outside+` /proc/1/root`+outside+` /proc/1/cwd`+outside+`; do
			(echo x >$f) 2>/dev/null && echo "wrote $f"; (read x <$f) 2>/dev/null && echo "read $f"
		done
		(exec 3<>/dev/tcp/127.0.0.1/22) 2>&1; (echo x >/proc/sys/kernel/core_pattern) 2>/dev/null && echo "wrote core_pattern"
		chmod 777 /proc/1/root/.. 2>/dev/null; chown 70000 /etc 2>/dev/null && echo "beyond its ids"; echo done`))
	must(t, err)
	text, exit := r.finish(t)
	if !strings.HasSuffix(text, "done\n") || exit.Code != 0 || strings.Count(text, "Connection refused") == 0 || strings.Contains(text, "wrote") ||
		strings.Contains(text, "read /") || strings.Contains(text, "beyond") {
		t.Errorf("%q %+v", text, exit)
	}
	if b, err := os.ReadFile(outside); err != nil || string(b) != "secret" {
		t.Errorf("%q %v", b, err)
	}
}

// A tree that is not there fails the launch by a step that names it.
func TestTreeMissing(t *testing.T) {
	testbed.Leaves(t)
	plan, err := isolate.NewPlan(treeSpec(t, filepath.Join(t.TempDir(), "none"), "true"), testbed.Engine(t).Host())
	must(t, err)
	if _, err := launchPlan(t, testbed.Engine(t), plan); err == nil || !strings.Contains(err.Error(), "bind "+plan.Root+" on /") {
		t.Errorf("%v", err)
	}
}
