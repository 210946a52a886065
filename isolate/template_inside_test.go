//go:build integration

package isolate_test

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gilliam/hypervisor/integration/testbed"
	"github.com/gilliam/hypervisor/isolate"
)

// What a sandbox writes stays in its layer: not a byte or a date of the template
// changes.
func TestTemplateUntouched(t *testing.T) {
	template := testbed.Template(t).Path
	before := fingerprint(t, template)
	text := output(t, `echo evil >/tmp/x; ls -ln /tmp/x | cut -d' ' -f3,4; for d in / /etc /usr/bin /app /root; do touch $d/x 2>/dev/null && echo "wrote $d"; done
		echo x >>/etc/passwd; rm -f /etc/hostname; mv /etc/passwd /etc/p; find / -xdev -writable -not -type l 2>/dev/null | grep -vE '^/(proc|dev|sys)' | head -50 | while read -r f; do echo x >>"$f/.x" || echo x >>"$f"; done 2>/dev/null; true`)
	if strings.Contains(text, "wrote") {
		t.Errorf("writable: %s", text)
	}
	if after := fingerprint(t, template); after != before {
		t.Error("the template changed")
	}
}

// fingerprint is every file's name, mode, owner, size and date.
func fingerprint(t *testing.T, dir string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "find", dir, "-printf", `%p %m %U %G %s %T@\n`).Output()
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// A template in which a folder to mount on is a symlink, or /etc/resolv.conf is,
// sends nothing anywhere on the host.
func TestHostileTemplate(t *testing.T) {
	canary := filepath.Join(t.TempDir(), "canary")
	must(t, os.Mkdir(canary, 0o755))
	must(t, os.WriteFile(filepath.Join(canary, "file"), []byte("host"), 0o644))
	// A template of symlinks to the real one's folders, but for the traps.
	real := testbed.Template(t).Path
	for _, trap := range []string{"proc", "sys", "dev", "app", "tmp", "etc/resolv.conf"} {
		for _, to := range []string{canary, "../../../../../.." + canary, canary + "/file"} {
			template := filepath.Join(t.TempDir(), "template")
			must(t, os.CopyFS(filepath.Join(template, "etc"), etc{os.DirFS(filepath.Join(real, "etc"))}))
			for _, d := range []string{"usr", "var"} {
				must(t, os.Mkdir(filepath.Join(template, d), 0o755))
			}
			must(t, os.RemoveAll(filepath.Join(template, trap)))
			must(t, os.Symlink(to, filepath.Join(template, trap)))
			s := spec(t, "/bin/true")
			s.Template = template
			s.Binds = []isolate.Bind{{Source: "/etc/resolv.conf", Target: "/etc/resolv.conf", Replace: true}}
			_, err := launch(t, testbed.Engine(t), s)
			want := "too many levels of symbolic links"
			switch trap {
			case "app": // nothing is mounted there
				want = "exec /bin/true"
			case "etc/resolv.conf": // replaced in the layer
				want = "exec /bin/true"
			}
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s -> %s: %v", trap, to, err)
			}
		}
	}
	entries, err := os.ReadDir(canary)
	if err != nil || len(entries) != 1 {
		t.Errorf("the canary holds %v, %v", entries, err)
	}
	if b, err := os.ReadFile(filepath.Join(canary, "file")); string(b) != "host" || err != nil {
		t.Errorf("the canary says %q, %v", b, err)
	}
}

// etc is a template's /etc cut down to its regular files.
type etc struct{ fs.FS }

func (e etc) ReadDir(name string) ([]fs.DirEntry, error) {
	entries, err := fs.ReadDir(e.FS, name)
	return slices.DeleteFunc(entries, func(d fs.DirEntry) bool { return !d.Type().IsRegular() }), err
}
