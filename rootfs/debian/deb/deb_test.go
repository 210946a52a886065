package deb

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/gilliam/hypervisor/rootfs/debian/archivetest"
)

const control1 = "Package: a\nVersion: 1-1\nArchitecture: amd64\n"

func parse(t *testing.T, b []byte) (*Package, error) {
	t.Helper()
	return read(bytes.NewReader(b), int64(len(b)))
}

func TestRead(t *testing.T) {
	p, err := parse(t, archivetest.Package{
		Control: control1, Scripts: map[string]string{"postinst": "#!/bin/sh\n", "conffiles": "/etc/a\nremove-on-upgrade /etc/b\nrelative\n/etc/../x\n"},
	}.Deb(t))
	if err != nil {
		t.Fatal(err)
	}
	if p.Name() != "a" || p.Version() != "1-1" || p.Arch() != "amd64" || string(p.Get("postinst")) != "#!/bin/sh\n" ||
		p.Get("preinst") != nil || len(p.Configs) != 1 || p.Configs[0] != "/etc/a" {
		t.Errorf("got %+v", p)
	}
}

func TestReadCompressed(t *testing.T) {
	sound := archivetest.Package{Control: control1}.Deb(t)
	members, err := readAr(bytes.NewReader(sound), int64(len(sound)))
	if err != nil {
		t.Fatal(err)
	}
	content := map[string][]byte{}
	for _, m := range members {
		b := make([]byte, m.body.Size())
		if _, err := m.body.ReadAt(b, 0); err != nil {
			t.Fatal(err)
		}
		content[m.name] = b
	}
	for ext, compress := range map[string]func(*bytes.Buffer) io.WriteCloser{
		".gz": func(b *bytes.Buffer) io.WriteCloser {
			return gzip.NewWriter(b)
		},
		".zst": func(b *bytes.Buffer) io.WriteCloser {
			w, err := zstd.NewWriter(b)
			if err != nil {
				t.Fatal(err)
			}
			return w
		},
	} {
		packed := map[string][]byte{"debian-binary": content["debian-binary"]}
		for _, name := range []string{"control.tar", "data.tar"} {
			var b bytes.Buffer
			w := compress(&b)
			if _, err := w.Write(content[name]); err != nil {
				t.Fatal(err)
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			packed[name+ext] = b.Bytes()
		}
		b := archivetest.Ar(packed, "debian-binary", "control.tar"+ext, "data.tar"+ext)
		if p, err := parse(t, b); err != nil || p.Name() != "a" {
			t.Errorf("%s: %v", ext, err)
		}
	}
}

func TestReadRefused(t *testing.T) {
	sound := archivetest.Package{Control: control1}.Deb(t)
	with := func(control string) []byte { return archivetest.Package{Control: control}.Deb(t) }
	for name, b := range map[string][]byte{
		"nothing":       nil,
		"rubbish":       []byte("hello, this is not a package"),
		"cut off":       sound[:len(sound)-600],
		"cut in header": sound[:100],
		"no members":    []byte(arMagic),
		"wrong order":   archivetest.Ar(map[string][]byte{"debian-binary": []byte("2.0\n"), "data.tar": {}, "control.tar": {}}, "debian-binary", "data.tar", "control.tar"),
		"no version":    archivetest.Ar(map[string][]byte{"control.tar": {}, "data.tar": {}, "x": {}}, "control.tar", "data.tar", "x"),
		"version 3":     archivetest.Ar(map[string][]byte{"debian-binary": []byte("3.0\n"), "control.tar": {}, "data.tar": {}}, "debian-binary", "control.tar", "data.tar"),
		"a huge size":   bytes.Replace(sound, []byte("4         `"), []byte("9999999999`"), 1),
		"no package":    with("Version: 1\nArchitecture: all\n"),
		"a wrong name":  with("Package: ../a\nVersion: 1\nArchitecture: all\n"),
		"no version in": with("Package: a\nArchitecture: all\n"),
		"a wrong arch":  with("Package: a\nVersion: 1\nArchitecture: x/y\n"),
	} {
		if p, err := parse(t, b); err == nil {
			t.Errorf("%s: read as %+v", name, p)
		}
	}
	for _, name := range []string{"../../evil", "sub/file", "a:b"} {
		if _, err := parse(t, (archivetest.Package{Control: control1, Scripts: map[string]string{name: "x"}}).Deb(t)); err == nil {
			t.Errorf("a control archive with %s was read", name)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add(archivetest.Package{Control: control1, Scripts: map[string]string{"conffiles": "/etc/a\n"}}.Deb(f))
	f.Add([]byte(arMagic))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := read(bytes.NewReader(b), int64(len(b)))
		if err == nil && (p.Name() == "" || strings.Contains(p.Name(), "/")) {
			t.Errorf("%+v", p)
		}
	})
}

// sh runs a line in a folder.
func sh(t *testing.T, dir, line string) string {
	t.Helper()
	cmd := exec.Command("sh", "-c", line)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v: %s", line, err, out)
	}
	return string(out)
}

// mine gives headers the owner that tests without root can give.
func mine(list ...tar.Header) []tar.Header {
	for i := range list {
		list[i].Uid, list[i].Gid = os.Getuid(), os.Getgid()
	}
	return list
}

func unpack(t *testing.T, tree *Tree, p archivetest.Package) ([]string, error) {
	t.Helper()
	read, err := parse(t, p.Deb(t))
	if err != nil {
		t.Fatal(err)
	}
	return tree.Unpack(read)
}

func newTree(t *testing.T) (*Tree, string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "tree")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	tree, err := OpenTree(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tree.Close() })
	return tree, dir
}

func TestUnpack(t *testing.T) {
	tree, dir := newTree(t)
	names, err := unpack(t, tree, archivetest.Package{
		Control: control1, Scripts: map[string]string{"conffiles": "/etc/conf\n"},
		Files: mine(
			tar.Header{Name: "./", Typeflag: tar.TypeDir, Mode: 0o755},
			tar.Header{Name: "./bin/", Typeflag: tar.TypeDir, Mode: 0o755},
			tar.Header{Name: "./bin/tool", Mode: 0o4755},
			tar.Header{Name: "./bin/alias", Typeflag: tar.TypeLink, Linkname: "./bin/tool"},
			tar.Header{Name: "./etc/", Typeflag: tar.TypeDir, Mode: 0o750},
			tar.Header{Name: "./etc/conf", Mode: 0o600},
			tar.Header{Name: "./lib64/x", Typeflag: tar.TypeSymlink, Linkname: "/elsewhere"},
			tar.Header{Name: "./var/spool", Typeflag: tar.TypeDir, Mode: 0o1777},
			tar.Header{Name: "./dev/null", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 3},
			tar.Header{Name: "./run/pipe", Typeflag: tar.TypeFifo, Mode: 0o644},
		),
		Data: map[string]string{"./bin/tool": "#!", "./etc/conf": "x"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(names, " "); got != "/. /bin /bin/tool /bin/alias /etc /etc/conf /lib64/x /var/spool /dev/null /run/pipe" {
		t.Errorf("names %s", got)
	}
	got := sh(t, dir, `find . -printf '%p %y %m %l\n' | sort; stat -c %Y usr/bin/tool; stat -c %h usr/bin/alias`)
	want := `. d 755 
./bin l 777 usr/bin
./dev d 755 
./etc d 750 
./etc/conf.dpkg-new f 600 
./lib64 l 777 usr/lib64
./run d 755 
./run/pipe p 644 
./usr d 755 
./usr/bin d 755 
./usr/bin/alias f 4755 
./usr/bin/tool f 4755 
./usr/lib64 d 755 
./usr/lib64/x l 777 /elsewhere
./var d 755 
./var/spool d 1777 
1672628645
2
`
	if got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

// A package is signed for; one that tries to leave the tree does not get out all the
// same.
func TestUnpackStaysInside(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "outside")
	if err := os.Mkdir(outside, 0o755); err != nil {
		t.Fatal(err)
	}
	secret := filepath.Join(outside, "secret")
	if err := os.WriteFile(secret, []byte("secret"), 0o644); err != nil {
		t.Fatal(err)
	}
	up := strings.Repeat("../", 20)
	for name, files := range map[string][]tar.Header{
		"dots":                       {{Name: up + outside[1:] + "/evil"}},
		"an absolute name":           {{Name: outside + "/evil"}},
		"a link and through it":      {{Name: "./out", Typeflag: tar.TypeSymlink, Linkname: outside}, {Name: "./out/evil"}},
		"a relative link":            {{Name: "./out", Typeflag: tar.TypeSymlink, Linkname: up + outside[1:]}, {Name: "./out/evil"}},
		"a link over a link":         {{Name: "./a", Typeflag: tar.TypeSymlink, Linkname: ".."}, {Name: "./a/b", Typeflag: tar.TypeSymlink, Linkname: outside}, {Name: "./a/b/evil"}},
		"a folder at a link":         {{Name: "./out", Typeflag: tar.TypeSymlink, Linkname: outside}, {Name: "./out", Typeflag: tar.TypeDir, Mode: 0o777}},
		"a file at a link":           {{Name: "./s", Typeflag: tar.TypeSymlink, Linkname: secret}, {Name: "./s"}},
		"a hard link out":            {{Name: "./h", Typeflag: tar.TypeLink, Linkname: secret}},
		"a hard link by dots":        {{Name: "./h", Typeflag: tar.TypeLink, Linkname: up + secret[1:]}},
		"a hard link through a link": {{Name: "./out", Typeflag: tar.TypeSymlink, Linkname: outside}, {Name: "./h", Typeflag: tar.TypeLink, Linkname: "./out/secret"}},
		"the links of /usr":          {{Name: "./bin", Typeflag: tar.TypeSymlink, Linkname: outside}, {Name: "./bin/evil"}},
		"a process's root":           {{Name: "./p", Typeflag: tar.TypeSymlink, Linkname: "/proc/self/root"}, {Name: "./p" + outside + "/evil"}},
	} {
		tree, dir := newTree(t)
		p := archivetest.Package{Control: control1, Files: mine(files...), Data: map[string]string{}}
		for _, h := range files {
			if h.Typeflag == 0 {
				p.Data[h.Name] = "evil"
			}
		}
		_, err := unpack(t, tree, p)
		left, e := os.ReadDir(outside)
		if e != nil || len(left) != 1 {
			t.Errorf("%s: outside is %v %v (%v)", name, left, e, err)
		}
		if b, e := os.ReadFile(secret); e != nil || string(b) != "secret" {
			t.Errorf("%s: the secret is %q %v", name, b, e)
		}
		if n := sh(t, dir, `find . -type f -links +1 | wc -l`); n != "0\n" {
			t.Errorf("%s: %s files with other names", name, n)
		}
	}
}

func TestUnpackRefused(t *testing.T) {
	for name, h := range map[string]tar.Header{
		"a name of two lines": {Name: "./a\nb"},
		"a high uid":          {Name: "./a", Uid: 70000},
		"a hard link to none": {Name: "./a", Typeflag: tar.TypeLink, Linkname: "./none"},
	} {
		tree, _ := newTree(t)
		if _, err := unpack(t, tree, archivetest.Package{Control: control1, Files: []tar.Header{h}}); err == nil || !strings.Contains(err.Error(), "package a") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A file that two packages bring is the one's that replaces the other, whichever
// comes first, and else an error.
func TestUnpackReplaces(t *testing.T) {
	file := func(pkg, replaces string) archivetest.Package {
		return archivetest.Package{
			Control: "Package: " + pkg + "\nVersion: 1\nArchitecture: all\nReplaces: " + replaces + "\n",
			Files:   mine(tar.Header{Name: "./lib/f", Mode: 0o644}), Data: map[string]string{"./lib/f": pkg},
		}
	}
	for _, c := range []struct {
		list []archivetest.Package
		has  string
		lost string
	}{
		{[]archivetest.Package{file("a", ""), file("b", "a (<< 2)")}, "b", "a"},
		{[]archivetest.Package{file("b", "x, a"), file("a", "")}, "b", "a"},
		{[]archivetest.Package{file("a", ""), file("b", "a (<< 1)")}, "", ""},
	} {
		tree, dir := newTree(t)
		_, err := unpack(t, tree, c.list[0])
		if err != nil {
			t.Fatal(err)
		}
		_, err = unpack(t, tree, c.list[1])
		if c.has == "" {
			if err == nil || !strings.Contains(err.Error(), "/lib/f of package b is also in package a") {
				t.Errorf("two packages: %v", err)
			}
			continue
		}
		b, e := os.ReadFile(filepath.Join(dir, "usr/lib/f"))
		if err != nil || e != nil || string(b) != c.has || len(tree.Lost()) != 1 || tree.Lost()[0] != (Lost{"/lib/f", c.lost}) {
			t.Errorf("has %q, lost %v: %v %v", b, tree.Lost(), err, e)
		}
	}
}
