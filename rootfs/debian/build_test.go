//go:build integration

package debian_test

import (
	"archive/tar"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gilliam/hypervisor/integration/testbed"
	"github.com/gilliam/hypervisor/isolate"
	"github.com/gilliam/hypervisor/rootfs/debian"
	"github.com/gilliam/hypervisor/rootfs/debian/archive"
	"github.com/gilliam/hypervisor/rootfs/debian/archivetest"
	"github.com/gilliam/hypervisor/rootfs/debian/resolve"
	"github.com/gilliam/hypervisor/rootfs/manifest"
)

// base is the same for all tests.
var base = sync.OnceValue(func() archivetest.Package { return archivetest.Base(testbed.TemplateDir()) })

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestMain(m *testing.M) { testbed.Main(m) }

var ids = isolate.IDRange{Base: 0x7ffd0000, Size: 65536}

// A site is an archive with the base in it, and a builder that builds from there.
type site struct {
	*archivetest.Archive
	t     *testing.T
	state string
	log   []string
	last  debian.Progress
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{Archive: archivetest.New(t, "tiny"), t: t, state: t.TempDir()}
	s.Add(base())
	return s
}

// pkg adds a package: its further fields, scripts by their names, and files by
// theirs.
func (s *site) pkg(name, fields string, scripts, files map[string]string) {
	s.t.Helper()
	p := archivetest.Package{
		Control: "Package: " + name + "\nVersion: 1\nArchitecture: all\nMaintainer: t\nDescription: t\n" + fields,
		Scripts: map[string]string{}, Data: map[string]string{},
	}
	for script, text := range scripts {
		if script != "triggers" && script != "conffiles" {
			text = "#!/bin/sh\nset -e\n" + text
		}
		p.Scripts[script] = text + "\n"
	}
	for file, text := range files {
		p.Files = append(p.Files, tar.Header{Name: "." + file, Mode: 0o644})
		p.Data["."+file] = text
	}
	s.Add(p)
}

// builder is one for the archive as it is now.
func (s *site) builder() (*debian.Builder, func()) {
	t := s.t
	t.Helper()
	ring, err := archive.ReadKeyring(s.Keyring)
	must(t, err)
	client, err := archive.NewClient(filepath.Join(s.state, "packages"), archive.Proxies{}, nil)
	must(t, err)
	work, err := debian.NewWork(s.state, debian.Leases{
		Take: func(string, int) ([]isolate.IDRange, func() error, error) {
			return []isolate.IDRange{ids}, func() error { return nil }, nil
		},
		Forget: func(string) error { return nil },
	})
	must(t, err)
	b := &debian.Builder{
		Work: work, Engine: testbed.Engine(t), Client: client, Arch: "amd64", Fresh: archive.Freshness{Now: time.Now()},
		Sources: []debian.Source{{Source: archive.Source{Mirror: s.Serve(), Suite: "tiny", Components: []string{"main"}}, Keyring: ring}},
		Report:  func(p debian.Progress) { s.last = p },
		Log:     func(line string) { s.log = append(s.log, line) },
	}
	return b, func() {
		client.Close()
		must(t, work.Close())
	}
}

// build builds a tree with the packages.
func (s *site) build(names ...string) (string, debian.Summary, error) {
	s.t.Helper()
	b, done := s.builder()
	defer done()
	tree := filepath.Join(s.t.TempDir(), "tree")
	must(s.t, os.Mkdir(tree, 0o755))
	sum, err := b.Build(s.t.Context(), tree, names)
	return tree, sum, err
}

func (s *site) read(tree, name string) string {
	s.t.Helper()
	b, err := os.ReadFile(filepath.Join(tree, name))
	must(s.t, err)
	return string(b)
}

func TestBuild(t *testing.T) {
	testbed.Leaves(t)
	s := newSite(t)
	s.pkg("hello", "Depends: greeting\nMulti-Arch: foreign\n", map[string]string{
		"postinst": `test "$1" = configure; test "$DEBIAN_FRONTEND" = noninteractive; cat /usr/lib/greeting >/var/lib/hello
			id -u >>/var/lib/hello; touch /etc/given; chown 7:8 /etc/given; chmod 4711 /etc/given; echo noise >/var/log/noise; : >/var/log/empty`,
		"conffiles": "/etc/hello.conf",
	}, map[string]string{"/etc/hello.conf": "x\n"})
	s.pkg("greeting", "", nil, map[string]string{"/lib/greeting": "hello\n"})
	tree, sum, err := s.build("hello")
	must(t, err)
	if got := fmt.Sprint(sum.Packages); got != "[{base 1 amd64} {greeting 1 all} {hello 1 all}]" {
		t.Errorf("packages %s", got)
	}
	if got := s.read(tree, "var/lib/hello"); got != "hello\n0\n" {
		t.Errorf("the script wrote %q", got)
	}
	fi, err := os.Lstat(filepath.Join(tree, "etc/given"))
	must(t, err)
	if st := fi.Sys().(*syscall.Stat_t); st.Uid != 7 || st.Gid != 8 || st.Mode&0o7777 != 0o4711 {
		t.Errorf("what the script made is %d:%d %o", st.Uid, st.Gid, st.Mode)
	}
	status := s.read(tree, "var/lib/dpkg/status")
	if n := strings.Count(status, "Status: install ok installed\n"); n != 3 || !strings.Contains(status, "Conffiles:\n /etc/hello.conf 401b30e3b8b5d629635a5c613cdb7919\n") {
		t.Errorf("status %s", status)
	}
	if got := s.read(tree, "var/lib/dpkg/info/greeting.list"); got != "/lib/greeting\n" {
		t.Errorf("list %q", got)
	}
	for name, there := range map[string]bool{
		"etc/hello.conf": true, "etc/hello.conf.dpkg-new": false, "usr/sbin/policy-rc.d": false, "var/log/noise": false, "var/log/empty": true,
		"var/log/dpkg.log": false, "var/lib/dpkg/status-old": false,
	} {
		if _, err := os.Lstat(filepath.Join(tree, name)); (err == nil) != there {
			t.Errorf("%s: %v", name, err)
		}
	}
	if s.last.Phase != debian.Configure || s.last.Done != 3 || s.last.Total != 3 {
		t.Errorf("progress ended at %+v", s.last)
	}
	must(t, filepath.WalkDir(tree, func(path string, d fs.DirEntry, err error) error {
		fi, e := d.Info()
		if e == nil && fi.ModTime().After(sum.Release) {
			t.Errorf("%s is of %s, younger than the archive", path, fi.ModTime())
		}
		return errors.Join(err, e)
	}))
	if left, err := filepath.Glob(filepath.Join(s.state, ".debian-*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %q %v", left, err)
	}
}

// The same packages are the same tree, and the second time nothing is fetched again.
func TestBuildIsReproducible(t *testing.T) {
	s := newSite(t)
	s.pkg("a", "", map[string]string{"postinst": `date +%s.%N >/var/log/when; echo $$ >/run/pid; ls -i / >/var/cache/debconf/x-old 2>/dev/null || :`}, map[string]string{"/usr/a": "a"})
	list := func() manifest.Manifest {
		tree, _, err := s.build("a")
		must(t, err)
		m, err := manifest.Scan(t.Context(), tree, nil)
		must(t, err)
		return m
	}
	one := list()
	asked := s.Asked("pool/")
	if two := list(); one.Hash() != two.Hash() {
		t.Errorf("differs: %v", one.Diff(two))
	}
	if s.Asked("pool/") != asked {
		t.Errorf("packages were fetched twice: %q", s.Requests)
	}
}

// A preinst runs before its package is unpacked, and after what it depends on
// beforehand is configured.
func TestPreinst(t *testing.T) {
	s := newSite(t)
	s.pkg("early", "", map[string]string{"postinst": "echo ready >/var/lib/ready"}, map[string]string{"/usr/tool": "early's\n"})
	s.pkg("late", "Pre-Depends: early\n", map[string]string{
		"preinst": `test "$1" = install; test "$DPKG_MAINTSCRIPT_PACKAGE" = late; test ! -e /usr/lib/late; cp /var/lib/ready /var/lib/seen
			test "$(cat /usr/tool)" = "early's"; ln -s /etc/passwd /usr/lib/late`,
	}, map[string]string{"/usr/lib/late": "file\n"})
	tree, _, err := s.build("late")
	must(t, err)
	if got := s.read(tree, "var/lib/seen") + s.read(tree, "usr/lib/late"); got != "ready\nfile\n" {
		t.Errorf("got %q", got)
	}
	if fi, err := os.Lstat(filepath.Join(tree, "usr/lib/late")); err != nil || !fi.Mode().IsRegular() {
		t.Errorf("what the script had made stands: %v %v", fi.Mode(), err)
	}
}

// Packages are added to a system that is there; triggers of what it has are
// activated by files that come.
func TestInstall(t *testing.T) {
	testbed.Leaves(t)
	s := newSite(t)
	s.pkg("indexer", "", map[string]string{
		"triggers": "interest-noawait /usr/things", "postinst": `echo "$1 $2" >>/var/lib/indexed; ls /usr/things >>/var/lib/indexed 2>/dev/null || :`,
	}, nil)
	s.pkg("thing", "Depends: base\n", nil, map[string]string{"/usr/things/thing": "x"})
	tree, _, err := s.build("indexer")
	must(t, err)
	b, done := s.builder()
	defer done()
	sum, err := b.Install(t.Context(), tree, []string{"thing"})
	must(t, err)
	if got := fmt.Sprint(sum.Packages); got != "[{thing 1 all}]" {
		t.Errorf("added %s", got)
	}
	if got := s.read(tree, "var/lib/indexed"); got != "configure \ntriggered /usr/things\nthing\n" {
		t.Errorf("the trigger made %q", got)
	}
	if _, err := b.Install(t.Context(), tree, []string{"nothing"}); !errors.Is(err, resolve.ErrImpossible) {
		t.Errorf("a package that is not there: %v", err)
	}
}

// What goes wrong in a script is said with what the script said, and nothing is left
// of its sandbox.
func TestScriptFails(t *testing.T) {
	for name, c := range map[string]struct {
		scripts map[string]string
		says    []string
	}{
		"postinst": {map[string]string{"postinst": "echo look at this; echo and that >&2; exit 3"}, []string{"dpkg --configure", "look at this\nand that", "exit status 3"}},
		"preinst":  {map[string]string{"preinst": "echo no, thanks; exit 4"}, []string{"the preinst script of package bad failed: exit status 4", "no, thanks"}},
		"a signal": {map[string]string{"preinst": "kill -9 $$"}, []string{"SIGKILL"}},
	} {
		t.Run(name, func(t *testing.T) {
			testbed.Leaves(t)
			s := newSite(t)
			s.pkg("bad", "", c.scripts, nil)
			_, _, err := s.build("bad")
			var script *debian.ScriptError
			if !errors.As(err, &script) {
				t.Fatalf("got %v", err)
			}
			for _, want := range c.says {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%v does not say %q", err, want)
				}
			}
		})
	}
}

// Scripts see nothing of the host and reach no network.
func TestScriptIsInside(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret")
	must(t, os.WriteFile(secret, []byte("secret"), 0o644))
	s := newSite(t)
	s.pkg("nosy", "", map[string]string{"postinst": `{
		for f in ` + secret + ` /proc/1/root` + secret + ` /..` + secret + `; do cat $f; done
		ls /sys/class/net; cat /proc/sys/kernel/hostname; cat /proc/self/uid_map
		mknod /etc/null c 1 3; mount -t tmpfs none /mnt; chroot / true && echo chrooted
		echo 1 >/proc/sys/net/ipv4/ip_forward
		} >/var/lib/found 2>/dev/null || :`}, nil)
	tree, _, err := s.build("nosy")
	must(t, err)
	want := fmt.Sprintf("lo\nlocalhost\n         0 %10d      65536\n", ids.Base)
	if got := s.read(tree, "var/lib/found"); got != want {
		t.Errorf("found %q, want %q", got, want)
	}
	if _, err := os.Lstat(filepath.Join(tree, "etc/null")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a device was made: %v", err)
	}
}

// What a mirror sends in a package's place is not taken.
func TestBuildRefused(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(s *site)
		says  string
	}{
		"another package":   {func(s *site) { s.Serve(); s.Put("pool/a.deb", s.File("pool/b.deb")) }, "has hash"},
		"a dependency less": {func(s *site) { s.pkg("a2", "Depends: gone\n", nil, nil); s.pkg("c", "Depends: a2\n", nil, nil) }, "package a2 (needed by c) depends on gone"},
	} {
		s := newSite(t)
		s.pkg("a", "", nil, nil)
		s.pkg("b", "", nil, nil)
		s.pkg("c0", "Depends: a\n", nil, nil)
		c.spoil(s)
		want := "c0"
		if s.File("pool/c.deb") != nil {
			want = "c"
		}
		if _, _, err := s.build(want); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
