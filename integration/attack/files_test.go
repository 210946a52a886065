//go:build integration

package attack

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gilliam/hypervisor/integration/testbed"
	"github.com/gilliam/hypervisor/isolate"
	"github.com/gilliam/hypervisor/isolate/selftest/attacks"
	"github.com/gilliam/hypervisor/rootfs"
)

// asInsideRoot runs the program as the root of a sandbox, with every capability, which no policy allows:
// it owns the template's files as the sandbox sees them, and changes its own copy
// of them.
func asInsideRoot(p *isolate.Plan) { p.User = isolate.User{} }

// vandalism is the attack on what lies in every Debian template.
var vandalism = []string{
	"files", "file=/etc/passwd", "file=/usr/bin/dash", "file=/usr/bin/python3.11", "file=/usr/lib/os-release", "file=/etc/ld.so.cache",
	"dir=/", "dir=/etc", "dir=/usr/bin", "dir=/usr/lib", "dir=/root", "dir=/var/lib", "dir=/app",
}

// T20: the app can change nothing of the template, and the sandbox's root can only
// change its own layer: that no byte of the template changed by all of these
// attacks is checked at the end of the package's tests.
func TestFiles(t *testing.T) {
	fight(t, []attack{{
		id: "T20", what: "change the template", args: vandalism, want: attacks.Files, control: weakened(asInsideRoot), differs: true,
		blind: map[string]string{
			"dirty pipe": "not in this kernel", "immutable": "needs a capability of the host", "trusted.": "needs a capability of the host",
			"security.": "needs a capability of the host", "remove folder": "renames between mounts are impossible", "whiteout": "overlayfs lets nobody",
			"create in /app": "read-only to all", "plant": "made already",
		},
	}})
}

// T20: one sandbox's writes are not seen by another on the same template.
func TestLayersApart(t *testing.T) {
	e := testbed.Engine(t)
	vandal := start(t, e, spec(t, vandalism...), asInsideRoot)
	vandal.report(t)
	paths := []string{"read", "/etc/passwd", "/etc/passwd.old", "/etc/probe", "/var/tmp/planted", "/usr/bin/dash", "/probe"}
	b := start(t, e, tenant(t, spec(t, paths...), 1))
	got := b.report(t).Detail
	if !strings.HasPrefix(got["/etc/passwd"], "root:") || !strings.HasPrefix(got["/usr/bin/dash"], "\x7fELF") {
		t.Errorf("the neighbour's files are gone: %q", got)
	}
	for _, path := range []string{"/etc/passwd.old", "/etc/probe", "/var/tmp/planted", "/probe"} {
		if got[path] != "ENOENT" {
			t.Errorf("the neighbour sees %s: %s", path, got[path])
		}
	}
	// The control: the vandal did it.
	if _, err := os.Stat(filepath.Join(vandal.layer.Upper, "etc/probe")); err != nil {
		t.Errorf("control: %v", err)
	}
}

// T20: a redirect that was planted in a layer leads nowhere. Control: with
// overlayfs told to follow redirects it does.
func TestRedirect(t *testing.T) {
	plant := func() isolate.Spec {
		s := spec(t, "read", "/planted/passwd", "/planted/hostname")
		dir := filepath.Join(s.Layer.Upper, "planted")
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := unix.Setxattr(dir, "trusted.overlay.redirect", []byte("/etc"), 0); err != nil {
			t.Fatal(err)
		}
		return s
	}
	if got := once(t, plant()).Detail["/planted/passwd"]; got != "ENOENT" && got != "EPERM" {
		t.Errorf("followed: %s", got)
	}
	follow := func(p *isolate.Plan) {
		root := p.Steps[0].(isolate.MountRoot)
		root.Options = slices.Clone(root.Options)
		root.Options[slices.Index(root.Options, "redirect_dir=nofollow")] = "redirect_dir=follow"
		p.Steps = slices.Clone(p.Steps)
		p.Steps[0] = root
	}
	if got := once(t, plant(), follow).Detail["/planted/passwd"]; !strings.HasPrefix(got, "root:") {
		t.Errorf("control: not followed: %s", got)
	}
}

// T21: an image that sandboxes share cannot be changed by one, or linked out of.
// Control: the image bound writable, a copy of it.
func TestImage(t *testing.T) {
	dir := commons(t)
	if err := os.WriteFile(filepath.Join(dir, "file"), []byte("shared by all\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(dir, "file"), 0o666); err != nil {
		t.Fatal(err)
	}
	shared := func(args ...string) isolate.Spec {
		s := spec(t, args...)
		s.Binds = append(s.Binds, isolate.Bind{Source: dir, Target: "/image", IDMapped: true})
		return s
	}
	e := testbed.Engine(t)
	reader := start(t, e, tenant(t, shared("read", "/image/file"), 1))
	if got := reader.report(t).Detail["/image/file"]; got != "shared by all" {
		t.Errorf("read %q", got)
	}
	b := start(t, e, shared("image", "/image"))
	got := b.report(t)
	for name, outcome := range got.Detail {
		want := "EROFS"
		switch {
		case strings.HasPrefix(name, "link to"), strings.HasPrefix(name, "rename to"):
			want = "EXDEV"
		case name == "dirty pipe":
			want = "EPERM"
		}
		if outcome != want {
			t.Errorf("%s: got %s, want %s", name, outcome, want)
		}
	}
	if text, err := os.ReadFile(filepath.Join(dir, "file")); string(text) != "shared by all\n" || err != nil {
		t.Errorf("the image holds %q, %v", text, err)
	}
	writable := func(p *isolate.Plan) {
		asInsideRoot(p)
		for i, s := range p.Steps {
			if bind, ok := s.(isolate.BindStep); ok && bind.Target == "/image" {
				bind.Flags &^= isolate.ReadOnly
				p.Steps[i] = bind
			}
		}
	}
	ctl := once(t, shared("image", "/image"), writable)
	for name := range got.Detail {
		never := strings.Contains(name, " to ") || name == "dirty pipe" // between mounts
		if !never && ctl.Detail[name] != "ok" {
			t.Errorf("control: %s: %s", name, ctl.Detail[name])
		}
	}
	t.Logf("T21 change a shared image: %s, %d tries; control: %s", got.Result, len(got.Detail), ctl.Result)
}

// T20: a layer full of what removers follow, hang on or fail at is removed
// without harm.
func TestLitter(t *testing.T) {
	canary := filepath.Join(t.TempDir(), "canary")
	if err := os.Mkdir(canary, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(canary, "file"), []byte("host"), 0o666); err != nil {
		t.Fatal(err)
	}
	s := spec(t, "litter", "/var/tmp", canary)
	if got := once(t, s); got.Detail["littered"] != "/var/tmp" {
		t.Fatalf("%v", got)
	}
	layers, err := rootfs.OpenLayers(filepath.Dir(filepath.Dir(s.Layer.Upper)))
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if err := layers.Remove(s.ID); err != nil {
		t.Fatal(err)
	}
	t.Logf("removed in %v", time.Since(began).Round(time.Millisecond))
	if _, err := os.Lstat(s.Layer.Upper); !os.IsNotExist(err) {
		t.Errorf("the layer is there: %v", err)
	}
	if text, err := os.ReadFile(filepath.Join(canary, "file")); string(text) != "host" || err != nil {
		t.Errorf("the canary holds %q, %v", text, err)
	}
}

// T21, known: what is one file to two sandboxes is one file to locks as well. A
// lease, which would hold up the other's open(2), is not to be had.
func TestSharedLocks(t *testing.T) {
	e := testbed.Engine(t)
	first := start(t, e, spec(t, "hold", "/app/file")).report(t)
	second := start(t, e, tenant(t, spec(t, "hold", "/app/file"), 1)).report(t)
	const lock, lease = "lock /app/file", "lease /app/file"
	if first.Detail[lock] != "ok" || first.Detail[lease] != "EACCES" || second.Detail[lease] != "EACCES" {
		t.Errorf("%v, %v", first, second)
	}
	if second.Detail[lock] != "ok" {
		t.Logf("KNOWN: T21: a sandbox can lock a file of an image that others share: %s", second.Detail[lock])
	}
}
