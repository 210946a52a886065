package rootfs

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/gilliam/hypervisor/isolate"
)

// A bench holds a state folder, a host with an /etc, and a canary that links of
// hostile trees point to.
type bench struct {
	t                    *testing.T
	dir, state, host, hq string
	ts                   *Templates
}

func newBench(t *testing.T) *bench {
	t.Helper()
	dir := t.TempDir()
	b := &bench{t: t, dir: dir, state: filepath.Join(dir, "state"), host: filepath.Join(dir, "host"), hq: filepath.Join(dir, "canary")}
	b.write("host/etc/resolv.conf", "nameserver 192.0.2.53\n")
	b.write("host/etc/apt/sources.list", "deb http://mirror.example/debian bookworm main\n")
	b.write("canary/passwd", "root:x:0:0:root:/root:/bin/bash\n")
	b.write("canary/shadow", "root:secret:1::::::\n")
	b.ts = OpenTemplates(TemplatesConfig{Default: filepath.Join(b.state, "template"), Dir: filepath.Join(b.state, "templates")})
	b.ts.owner, b.ts.host = os.Geteuid(), b.host
	return b
}

func (b *bench) write(name, content string) {
	b.t.Helper()
	p := filepath.Join(b.dir, name)
	if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(p, []byte(content), 0o644); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) read(name string) string {
	b.t.Helper()
	c, err := os.ReadFile(filepath.Join(b.dir, name))
	if err != nil {
		b.t.Fatal(err)
	}
	return string(c)
}

// debootstrap makes a tree such as debootstrap leaves, below the bench's folder.
func (b *bench) debootstrap(name string) string {
	b.t.Helper()
	b.write(name+"/etc/passwd", "root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n")
	b.write(name+"/etc/group", "root:x:0:\n")
	b.write(name+"/etc/shadow", "root:*:19000:0:99999:7:::\n")
	b.write(name+"/etc/gshadow", "root:*::\n")
	b.write(name+"/usr/lib/os-release", "NAME=\"Debian\"\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n")
	b.write(name+"/etc/machine-id", "0123456789abcdef0123456789abcdef\n")
	b.write(name+"/etc/hostname", "builder\n")
	b.write(name+"/etc/resolv.conf", "nameserver 198.51.100.1\n")
	dir := filepath.Join(b.dir, name)
	b.link("../usr/lib/os-release", name+"/etc/os-release")
	if err := errors.Join(os.Chmod(dir, 0o755), os.Chmod(filepath.Join(dir, "etc/shadow"), 0o640)); err != nil {
		b.t.Fatal(err)
	}
	return dir
}

func (b *bench) link(to, name string) {
	b.t.Helper()
	p := filepath.Join(b.dir, name)
	if err := os.RemoveAll(p); err != nil {
		b.t.Fatal(err)
	}
	if err := os.Symlink(to, p); err != nil {
		b.t.Fatal(err)
	}
}

func wantErr(t *testing.T, err, kind error, text string) {
	t.Helper()
	if !errors.Is(err, kind) || !strings.Contains(err.Error(), text) {
		t.Errorf("got %v, want %v with %q", err, kind, text)
	}
}

func TestAdopt(t *testing.T) {
	b := newBench(t)
	dir := b.debootstrap("new")
	if _, err := b.ts.Get(""); true {
		wantErr(t, err, ErrNotExist, `"hypervisor template build default"`)
		wantErr(t, err, ErrNotExist, `"hypervisor template import default DIR|TAR|IMAGE"`)
	}
	got, err := b.ts.Adopt(context.Background(), "", dir, AdoptOptions{ResolvConf: true, AptSources: true})
	if err != nil {
		t.Fatal(err)
	}
	want := Template{
		Name: "default", Path: filepath.Join(b.state, "template"), OS: "Debian GNU/Linux 12 (bookworm)",
		User: isolate.User{UID: 1000, GID: 1000}, UserName: "gilliam", Home: "/app", Created: got.Created,
	}
	if got != want || got.Created.IsZero() {
		t.Errorf("got %+v, want %+v", got, want)
	}
	for name, want := range map[string]string{
		"etc/passwd": "root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n" +
			"gilliam:x:1000:1000::/app:/bin/sh\n",
		"etc/group":            "root:x:0:\ngilliam:x:1000:\n",
		"etc/shadow":           "root:*:19000:0:99999:7:::\ngilliam:!::0:99999:7:::\n",
		"etc/gshadow":          "root:*::\ngilliam:!::\n",
		"etc/machine-id":       "",
		"etc/resolv.conf":      "nameserver 192.0.2.53\n",
		"etc/apt/sources.list": "deb http://mirror.example/debian bookworm main\n",
	} {
		if got := b.read("state/template/" + name); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	for name, want := range map[string]fs.FileMode{
		"state": fs.ModeDir | 0o700, "state/template": fs.ModeDir | 0o755, "state/template/app": fs.ModeDir | 0o755,
		"state/template/etc/shadow": 0o640, "state/template/etc/passwd": 0o644,
	} {
		if fi, err := os.Lstat(filepath.Join(b.dir, name)); err != nil || fi.Mode() != want {
			t.Errorf("%s: got %v, %v, want %v", name, fi.Mode(), err, want)
		}
	}
	for _, gone := range []string{"new", "state/template/etc/hostname", "state/template/etc/passwd+"} {
		if _, err := os.Lstat(filepath.Join(b.dir, gone)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is still there: %v", gone, err)
		}
	}

	again, err := b.ts.Adopt(context.Background(), "default", got.Path, AdoptOptions{ResolvConf: true})
	if err != nil || again != got {
		t.Errorf("again: got %+v, %v, want %+v", again, err, got)
	}
	_, err = b.ts.Adopt(context.Background(), "", b.debootstrap("other"), AdoptOptions{})
	wantErr(t, err, ErrExist, "choose another name")
	if _, err := b.ts.Adopt(context.Background(), "other", filepath.Join(b.dir, "other"), AdoptOptions{}); err != nil {
		t.Fatal(err)
	}
	if got := b.read("state/templates/other/current/tree/etc/resolv.conf"); got != "nameserver 198.51.100.1\n" {
		t.Errorf("resolv.conf was changed: %q", got)
	}
	list, err := b.ts.List()
	if err != nil || len(list) != 2 || list[0].Name != "default" || list[1].Name != "other" {
		t.Errorf("got %+v, %v", list, err)
	}
}

func TestAdoptRefuses(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(b *bench, dir string)
		opt  AdoptOptions
		kind error
		want string
	}{
		{"unfinished", func(b *bench, _ string) { b.write("new/debootstrap/debootstrap.log", "") }, AdoptOptions{}, ErrInvalid, "has not finished"},
		{"no root file system", func(b *bench, dir string) { os.Remove(dir + "/etc/passwd") }, AdoptOptions{}, ErrInvalid, "is it a root file system"},
		{"passwd leads out", func(b *bench, _ string) { b.link(b.hq+"/passwd", "new/etc/passwd") }, AdoptOptions{}, ErrInvalid, "escapes"},
		{"passwd leads out by dotdot", func(b *bench, _ string) { b.link("../../canary/passwd", "new/etc/passwd") }, AdoptOptions{}, ErrInvalid, "escapes"},
		{"etc leads out", func(b *bench, _ string) { b.link("../canary", "new/etc") }, AdoptOptions{}, ErrInvalid, "escapes"},
		{"shadow leads out", func(b *bench, _ string) { b.link("../../canary/shadow", "new/etc/shadow") }, AdoptOptions{}, nil, "escapes"},
		{"passwd is a fifo", func(b *bench, dir string) {
			os.Remove(dir + "/etc/passwd")
			if err := syscall.Mkfifo(dir+"/etc/passwd", 0o644); err != nil {
				b.t.Fatal(err)
			}
		}, AdoptOptions{}, ErrInvalid, "not a regular file"},
		{"passwd is endless", func(b *bench, dir string) { b.t.Log(os.Truncate(dir+"/etc/passwd", 1<<40)) }, AdoptOptions{}, ErrInvalid, "longer than 1 MiB"},
		{"app leads out", func(b *bench, _ string) { b.link("../canary", "new/app") }, AdoptOptions{}, fs.ErrExist, "app"},
		{"apt leads out", func(b *bench, _ string) { b.link("../../canary", "new/etc/apt") }, AdoptOptions{AptSources: true}, nil, "etc/apt"},
		{"run user is root", func(b *bench, _ string) { b.write("new/etc/passwd", "gilliam:x:0:0::/app:/bin/sh\n") }, AdoptOptions{}, ErrInvalid, "root's"},
		{"password in apt sources", func(b *bench, _ string) {
			b.write("host/etc/apt/sources.list.d/private.sources", "URIs: https://me:pw@example.com/debian\n")
		}, AdoptOptions{AptSources: true}, ErrInvalid, "holds a password"},
		{"parent is open", func(b *bench, _ string) { b.write("state/x", "") }, AdoptOptions{}, ErrInvalid, "chmod 0700"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t)
			dir := b.debootstrap("new")
			c.do(b, dir)
			_, err := b.ts.Adopt(context.Background(), "", dir, c.opt)
			if err == nil || !strings.Contains(err.Error(), c.want) || c.kind != nil && !errors.Is(err, c.kind) {
				t.Errorf("got %v, want %v with %q", err, c.kind, c.want)
			}
			if _, err := b.ts.Get(""); !errors.Is(err, ErrNotExist) {
				t.Errorf("it is there nevertheless: %v", err)
			}
			if got := b.read("canary/shadow") + b.read("canary/passwd"); got != "root:secret:1::::::\nroot:x:0:0:root:/root:/bin/bash\n" {
				t.Errorf("the canary has changed: %q", got)
			}
			if names, _ := os.ReadDir(b.hq); len(names) != 2 {
				t.Errorf("the canary's folder has changed: %v", names)
			}
		})
	}
	b := newBench(t)
	_, err := b.ts.Adopt(context.Background(), "", filepath.Join(b.dir, "none"), AdoptOptions{})
	wantErr(t, err, ErrNotExist, "make it first")
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := b.ts.Adopt(ctx, "", b.debootstrap("new"), AdoptOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// Links that stay in the tree, or that are replaced and not followed, are fine.
func TestAdoptLinks(t *testing.T) {
	b := newBench(t)
	dir := b.debootstrap("new")
	b.link(b.hq+"/shadow", "new/etc/resolv.conf")
	b.link(b.hq+"/shadow", "new/etc/machine-id")
	b.link(b.hq+"/shadow", "new/etc/hostname")
	b.link(b.hq+"/shadow", "new/etc/passwd+")
	if _, err := b.ts.Adopt(context.Background(), "", dir, AdoptOptions{ResolvConf: true}); err != nil {
		t.Fatal(err)
	}
	if got := b.read("canary/shadow"); got != "root:secret:1::::::\n" {
		t.Errorf("the canary has changed: %q", got)
	}
	if got := b.read("state/template/etc/resolv.conf"); got != "nameserver 192.0.2.53\n" {
		t.Errorf("got %q", got)
	}
}

func TestGet(t *testing.T) {
	b := newBench(t)
	for _, name := range []string{"..", ".", "../x", "a/b", "a\x00b", "-rf", "A", "é", "a b", ".hidden", strings.Repeat("a", 64)} {
		_, err := b.ts.Get(name)
		wantErr(t, err, ErrInvalid, "template name")
	}
	b.debootstrap("state/templates/x")
	_, err := b.ts.Get("x")
	wantErr(t, err, ErrInvalid, "no user gilliam: finish it with")
	b.write("state/templates/x/etc/passwd", "gilliam:x:1000:1000::/app:/bin/sh\n")
	if _, err := b.ts.Get("x"); err != nil {
		t.Error(err)
	}
	if err := os.Chmod(filepath.Join(b.state, "templates/x"), 0o777); err != nil {
		t.Fatal(err)
	}
	_, err = b.ts.Get("x")
	wantErr(t, err, ErrInvalid, "others may write")
	if err := os.Chmod(filepath.Join(b.state, "templates/x"), 0o755); err != nil {
		t.Fatal(err)
	}
	b.ts.owner = 4242
	_, err = b.ts.Get("x")
	wantErr(t, err, ErrInvalid, "must be root's")

	only := OpenTemplates(TemplatesConfig{Default: b.dir})
	_, err = only.Get("other")
	wantErr(t, err, ErrNotExist, `template "other" does not exist`)
}
