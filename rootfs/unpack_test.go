package rootfs

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"
	"testing"

	"github.com/gilliam/hypervisor/rootfs/manifest"
)

// An arena is a folder to unpack into, beside what must never change.
type arena struct {
	dir     string // holds canary/ and root/
	root    *os.Root
	scratch string
	was     string
}

// unpack unpacks into the arena.
func (a *arena) unpack(r io.Reader, lim UnpackLimits) (stats, error) {
	root, err := os.OpenRoot(a.scratch)
	if err != nil {
		return stats{}, err
	}
	defer root.Close()
	return unpack(r, a.root, lim, func() (*os.File, error) { return nameless(root) })
}

func newArena(t testing.TB) *arena {
	t.Helper()
	dir := t.TempDir()
	for _, d := range []string{"canary", "root"} {
		p := filepath.Join(dir, d)
		if err := errors.Join(os.Mkdir(p, 0o755), os.Chmod(p, 0o755)); err != nil { // whatever the umask
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "canary", "secret"), []byte("sing"), 0o600); err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(filepath.Join(dir, "root"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	a := &arena{dir: dir, root: root, scratch: t.TempDir()}
	a.was = a.outside(t)
	return a
}

// outside lists everything beside root: names, modes, links, sizes, content.
func (a *arena) outside(t testing.TB) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(a.dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if p == filepath.Join(a.dir, "root") {
			return fs.SkipDir
		}
		fi, err := d.Info()
		if err != nil {
			return err
		}
		fmt.Fprintln(&b, p, fi.Mode(), fi.ModTime().UnixNano())
		if fi.Mode().IsRegular() {
			c, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			fmt.Fprintf(&b, "%q\n", c)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// check looks at what was unpacked: nothing outside has changed, and inside
// there is nothing but files, folders and links without rights.
func (a *arena) check(t testing.TB) {
	t.Helper()
	if now := a.outside(t); now != a.was {
		t.Errorf("changed outside the root:\n%s\nwas:\n%s", now, a.was)
	}
	err := filepath.WalkDir(filepath.Join(a.dir, "root"), func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		fi, err := d.Info()
		if err != nil {
			return err
		}
		m := fi.Mode()
		switch {
		case m.IsDir() && m == fs.ModeDir|0o755, m.Type() == fs.ModeSymlink:
		case m.IsRegular() && (m == 0o644 || m == 0o755 || m == 0o444 || m == 0o555):
		case m == 0o600: // one that was being written when the archive broke
		default:
			t.Errorf("%s has mode %v", p, m)
		}
		if uid, _ := owner(fi); uid != os.Geteuid() {
			t.Errorf("%s belongs to %d", p, uid)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// noted checks that the list of what was unpacked is that of what is there.
func (a *arena) noted(t testing.TB, st stats, err error) {
	t.Helper()
	if err != nil {
		return
	}
	is, err := manifest.Scan(context.Background(), filepath.Join(a.dir, "root"), nil)
	if diff := st.List.Diff(is); err != nil || len(diff) > 0 || st.List.Hash() != is.Hash() {
		t.Errorf("what is there is not what was noted: %v, %v", diff, err)
	}
}

// content is expected in the root after a good archive: name to content, or to
// "-> target" for a symbolic link, or "/" for a folder.
type content map[string]string

func (c content) check(t testing.TB, root *os.Root) {
	t.Helper()
	for name, want := range c {
		fi, err := root.Lstat(name)
		got := ""
		switch {
		case errors.Is(err, fs.ErrNotExist):
			got = "(absent)"
		case err != nil:
			got = err.Error()
		case fi.IsDir():
			got = "/"
		case fi.Mode().Type() == fs.ModeSymlink:
			got, _ = root.Readlink(name)
			got = "-> " + got
		default:
			b, _ := root.ReadFile(name)
			got = string(b)
		}
		if got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
}

var long = strings.Repeat("x", 255)

// hostile is the corpus: what is built, the reason by which it is refused, or
// what is there when it is not.
var hostile = []struct {
	name  string
	build func(a *archive)
	want  string // part of the error; empty: accepted
	have  content
}{
	// Names that lead out.
	{"dotdot", func(a *archive) { a.file("../canary/secret", "x") }, "leads out", nil},
	{"dotdot in the middle", func(a *archive) { a.file("a/../../canary/secret", "x") }, "leads out", nil},
	{"dotdot that stays inside", func(a *archive) { a.file("a/../b", "x") }, "leads out", nil},
	{"dotdot at the end", func(a *archive) { a.dir("a/..") }, "leads out", nil},
	{"dotdot folder", func(a *archive) { a.dir("../new") }, "leads out", nil},
	{"absolute file", func(a *archive) { a.file("/etc/canary", "x") }, "absolute", nil},
	{"absolute folder", func(a *archive) { a.dir("/new") }, "absolute", nil},
	{"two slashes", func(a *archive) { a.file("//etc/canary", "x") }, "absolute", nil},
	{"pax path dotdot", func(a *archive) {
		a.raw(ustar("x", 'x', int64(len(paxRecords("path", "../canary/secret")))), paxRecords("path", "../canary/secret"))
		a.raw(ustar("good", '0', 1), "x")
	}, "leads out", nil},
	{"gnu long name dotdot", func(a *archive) {
		a.raw(ustar("././@LongLink", 'L', 17), "../canary/secret\x00")
		a.raw(ustar("good", '0', 1), "x")
	}, "leads out", nil},
	{"ustar prefix dotdot", func(a *archive) {
		h := ustar("secret", '0', 1)
		copy(h[345:], "../canary")
		a.raw(h, "x")
	}, "leads out", nil},
	{"backslashes are letters", func(a *archive) { a.file(`..\..\canary`, "x") }, "", content{`..\..\canary`: "x"}},
	{"dots are letters", func(a *archive) { a.file("...", "x"); a.file("..a/b", "y") }, "", content{"...": "x", "..a/b": "y"}},
	{"percent is a letter", func(a *archive) { a.file("%2e%2e/x", "x") }, "", content{"%2e%2e/x": "x"}},

	// Through links.
	{"symlink then file through it", func(a *archive) { a.sym("l", "../canary"); a.file("l/secret", "x") }, "was a symbolic link before", nil},
	{"absolute symlink then file", func(a *archive) { a.sym("l", "/tmp"); a.file("l/canary", "x") }, "was a symbolic link before", nil},
	{"symlink within, then file", func(a *archive) { a.dir("d"); a.sym("l", "d"); a.file("l/f", "x") }, "was a symbolic link before", nil},
	{"symlink to dot, then file", func(a *archive) { a.sym("l", "."); a.file("l/f", "x") }, "was a symbolic link before", nil},
	{"symlink then folder", func(a *archive) { a.sym("l", "../canary"); a.dir("l") }, "was a symbolic link before", nil},
	{"symlink then folder below", func(a *archive) { a.sym("l", "../canary"); a.dir("l/new") }, "was a symbolic link before", nil},
	{"symlink then symlink below", func(a *archive) { a.sym("l", "../canary"); a.sym("l/new", "x") }, "was a symbolic link before", nil},
	{"symlink chain", func(a *archive) {
		a.sym("a", "b")
		a.sym("b", "../canary")
		a.file("a/secret", "x")
	}, "was a symbolic link before", nil},
	{"symlink loop", func(a *archive) { a.sym("a", "a"); a.file("a/f", "x") }, "was a symbolic link before", nil},
	{"symlink then file of its name", func(a *archive) { a.sym("l", "../canary/secret"); a.file("l", "x") }, "", content{"l": "x"}},
	{"folder then symlink of its name", func(a *archive) { a.dir("d"); a.sym("d", "../canary") }, "was a folder before", nil},
	{"implied folder then symlink", func(a *archive) { a.file("d/f", "x"); a.sym("d", "../canary") }, "was a folder before", nil},
	{"top as a symlink", func(a *archive) { a.sym(".", "../canary") }, "was a folder before", nil},
	{"top as a file", func(a *archive) { a.file("./.", "x") }, "was a folder before", nil},
	{"file then folder", func(a *archive) { a.file("d", "x"); a.dir("d") }, "was a file before", nil},
	{"file then file below", func(a *archive) { a.file("d", "x"); a.file("d/f", "x") }, "was a file before", nil},
	{"folder then file", func(a *archive) { a.dir("d"); a.file("d", "x") }, "was a folder before", nil},
	{"symlink anywhere is only a symlink", func(a *archive) {
		a.sym("out", "/etc/shadow")
		a.sym("up", "../../../..")
		a.sym("proc", "/proc/self/fd/7")
	}, "", content{"out": "-> /etc/shadow", "up": "-> ../../../..", "proc": "-> /proc/self/fd/7"}},
	{"symlink to nothing", func(a *archive) { a.raw(ustar("l", '2', 0), "") }, "target is empty", nil},

	// Hard links.
	{"hard link out", func(a *archive) { a.hard("h", "../canary/secret") }, "leads out", nil},
	{"hard link absolute", func(a *archive) { a.hard("h", "/etc/passwd") }, "absolute", nil},
	{"hard link to nothing", func(a *archive) { a.hard("h", "no") }, "not in the archive before it", nil},
	{"hard link to a symlink", func(a *archive) { a.sym("l", "../canary/secret"); a.hard("h", "l") }, "symbolic link", nil},
	{"hard link through a symlink", func(a *archive) { a.sym("l", "../canary"); a.hard("h", "l/secret") }, "not in the archive before it", nil},
	{"hard link to a folder", func(a *archive) { a.dir("d"); a.hard("h", "d") }, "folder", nil},
	{"hard link over a folder", func(a *archive) { a.file("f", "x"); a.dir("d"); a.hard("d", "f") }, "was a folder before", nil},
	{"hard link below a symlink", func(a *archive) { a.file("f", "x"); a.sym("l", "../canary"); a.hard("l/h", "f") }, "was a symbolic link before", nil},
	{"hard link to itself", func(a *archive) { a.file("f", "x"); a.hard("f", "f") }, "", content{"f": "x"}},
	{"hard link, then its target anew", func(a *archive) { a.file("f", "old"); a.hard("h", "f"); a.file("f", "new") }, "", content{"f": "new", "h": "old"}},
	{"hard link within", func(a *archive) { a.file("d/f", "x"); a.hard("e/h", "./d//f") }, "", content{"e/h": "x"}},

	// What an image may not hold.
	{"character device", func(a *archive) { a.special("null", tar.TypeChar) }, "a device", nil},
	{"block device", func(a *archive) { a.special("sda", tar.TypeBlock) }, "a device", nil},
	{"fifo", func(a *archive) { a.special("pipe", tar.TypeFifo) }, "a FIFO", nil},
	{"unknown type", func(a *archive) { a.raw(ustar("s", 'Z', 0), "") }, "unknown type", nil},
	{"contiguous file", func(a *archive) { a.raw(ustar("s", '7', 0), "") }, "unknown type", nil},
	{"gnu volume label", func(a *archive) { a.raw(ustar("vol", 'V', 0), "") }, "unknown type", nil},
	{"whiteout", func(a *archive) { a.file("d/.wh.secret", "") }, "whiteout", nil},
	{"opaque whiteout", func(a *archive) { a.file(".wh..wh..opq", "") }, "whiteout", nil},
	{"below a whiteout", func(a *archive) { a.file(".wh.d/f", "") }, "whiteout", nil},

	// Rights.
	{"setuid, setgid, sticky", func(a *archive) {
		a.mode("u", 0o4755)
		a.mode("g", 0o2755)
		a.mode("s", 0o1644)
		a.mode("none", 0)
		a.mode("all", 0o7777)
		a.mode("private", 0o600)
		a.mode("big", 0o100777)
	}, "", content{"u": "x", "none": "x", "all": "x"}},
	{"setuid folder", func(a *archive) {
		a.add(tar.Header{Name: "d", Typeflag: tar.TypeDir, Mode: 0o7000}, "")
	}, "", content{"d": "/"}},
	{"foreign owner", func(a *archive) {
		a.add(tar.Header{Name: "f", Typeflag: tar.TypeReg, Uid: 4242, Gid: 4242, Uname: "daemon", Mode: 0o644}, "x")
	}, "", content{"f": "x"}},
	{"xattrs", func(a *archive) {
		a.add(tar.Header{Name: "f", Typeflag: tar.TypeReg, Mode: 0o755, PAXRecords: map[string]string{
			"SCHILY.xattr.security.capability":      "\x01\x00\x00\x02\x00\x20\x00\x00",
			"SCHILY.xattr.trusted.overlay.redirect": "/etc",
			"SCHILY.xattr.user.note":                "x",
		}}, "x")
	}, "", content{"f": "x"}},

	// Names that are wrong or odd.
	{"name too long", func(a *archive) { a.file(strings.Repeat(long+"/", 17)+"f", "x") }, "longer than 4096", nil},
	{"part too long", func(a *archive) { a.file(long+"x", "x") }, "longer than 255", nil},
	{"longest part", func(a *archive) { a.file(long, "x") }, "", content{long: "x"}},
	{"too deep", func(a *archive) { a.file(strings.Repeat("d/", 64)+"f", "x") }, "more than 64", nil},
	{"deepest", func(a *archive) { a.file(strings.Repeat("d/", 63)+"f", "x") }, "", content{strings.Repeat("d/", 63) + "f": "x"}},
	{"not utf-8", func(a *archive) { a.raw(ustar("caf\xe9", '0', 1), "x") }, "not UTF-8", nil},
	{"nul in a pax path", func(a *archive) {
		a.raw(ustar("x", 'x', int64(len(paxRecords("path", "a\x00b")))), paxRecords("path", "a\x00b"))
		a.raw(ustar("good", '0', 1), "x")
	}, "damaged", nil},
	{"no name", func(a *archive) { a.raw(ustar("", '0', 1), "x") }, "without a name", nil},
	{"file whose name ends in a slash", func(a *archive) { a.raw(ustar("f/", '0', 1), "x") }, "ends in a slash", nil},
	{"odd but good names", func(a *archive) {
		a.file("./a//./b", "x")
		a.file("-rf", "x")
		a.file("new\nline", "x")
		a.file("a b", "x")
		a.file("A", "1")
		a.file("a2", "2")
		a.file("ünïcødé", "x")
	}, "", content{"a/b": "x", "-rf": "x", "new\nline": "x", "A": "1", "ünïcødé": "x"}},
	{"names that differ by case", func(a *archive) { a.file("README", "1"); a.file("readme", "2") }, "", content{"README": "1", "readme": "2"}},
	{"a link, and a folder that differs by case", func(a *archive) { a.sym("l", "../canary"); a.file("L/secret", "x") }, "", content{"l": "-> ../canary", "L/secret": "x"}},
	{"a link, and a folder that differs by composition", func(a *archive) {
		a.sym("\u00e9", "../canary")
		a.file("e\u0301/secret", "x")
	}, "", content{"\u00e9": "-> ../canary", "e\u0301/secret": "x"}},
	{"names that read backwards", func(a *archive) { a.file("\u202egpj.exe", "x") }, "", content{"\u202egpj.exe": "x"}},
	{"dots of another script", func(a *archive) { a.file("\uff0e\uff0e/\u2024\u2024/f", "x") }, "", content{"\uff0e\uff0e/\u2024\u2024/f": "x"}},
	{"slashes of another script", func(a *archive) { a.file("..\u2215canary\uff0fsecret", "x") }, "", content{"..\u2215canary\uff0fsecret": "x"}},
	{"overlong slash", func(a *archive) { a.raw(ustar("..\xc0\xafcanary", '0', 1), "x") }, "not UTF-8", nil},
	{"duplicates, the last wins", func(a *archive) { a.file("f", "first"); a.file("f", "second") }, "", content{"f": "second"}},
	{"folder twice", func(a *archive) { a.dir("d"); a.file("d/f", "x"); a.dir("d/") }, "", content{"d/f": "x"}},
	{"global pax header", func(a *archive) {
		a.raw(ustar("pax_global_header", 'g', int64(len(paxRecords("comment", "0123")))), paxRecords("comment", "0123"))
		a.file("f", "x")
	}, "", content{"f": "x"}},

	// Parsers that disagree.
	{"pax size against ustar size", func(a *archive) {
		// By its pax header the file is 1024 bytes, by its ustar header none:
		// a reader that believes the latter would find a header in the body.
		inner := ustar("hidden", '0', 0)
		body := string(inner[:]) + strings.Repeat("y", 512)
		a.raw(ustar("x", 'x', int64(len(paxRecords("size", "1024")))), paxRecords("size", "1024"))
		a.raw(ustar("f", '0', 0), body)
	}, "", content{"hidden": "(absent)"}},
	{"negative size", func(a *archive) {
		h := ustar("f", '0', 0)
		for n := 124; n < 136; n++ {
			h[n] = 0xff
		}
		a.raw(h, "")
	}, "damaged", nil},
	{"huge pax size", func(a *archive) {
		a.raw(ustar("x", 'x', int64(len(paxRecords("size", "9223372036854775807")))), paxRecords("size", "9223372036854775807"))
		a.raw(ustar("f", '0', 0), "")
	}, "unpacks to more than", nil},
	{"pax header of 2 MiB", func(a *archive) {
		a.raw(ustar("x", 'x', 2<<20), strings.Repeat("0", 2<<20))
		a.raw(ustar("f", '0', 0), "")
	}, "damaged", nil},
	{"times from another age", func(a *archive) {
		for n, at := range []string{"-99999999999999", "99999999999999999", "0"} {
			a.raw(ustar("x", 'x', int64(len(paxRecords("mtime", at)))), paxRecords("mtime", at))
			a.raw(ustar(fmt.Sprint("f", n), '0', 1), "x")
		}
	}, "", content{"f0": "x", "f1": "x", "f2": "x"}},

	// Too much.
	{"one file too large", func(a *archive) { a.raw(ustar("f", '0', 2<<30), "") }, "unpacks to more than 1 GiB", nil},
	{"sparse of 1 TiB", func(a *archive) { a.raw(gnuSparse("f", 1<<40), "") }, "unpacks to more than 1 GiB", nil},
	{"sparse of 1 MiB is fine", func(a *archive) { a.raw(gnuSparse("f", 1<<20), "") }, "", content{"f": strings.Repeat("\x00", 1<<20)}},
	{"pax sparse of 1 TiB", func(a *archive) {
		rec := paxRecords("GNU.sparse.major", "0", "GNU.sparse.minor", "1", "GNU.sparse.numblocks", "0", "GNU.sparse.map", "", "GNU.sparse.size", "1099511627776")
		a.raw(ustar("x", 'x', int64(len(rec))), rec)
		a.raw(ustar("f", '0', 0), "")
	}, "unpacks to more than 1 GiB", nil},
	{"nothing", func(a *archive) {}, "the archive is empty", nil},
	{"only a global header", func(a *archive) {
		a.raw(ustar("g", 'g', int64(len(paxRecords("comment", "0")))), paxRecords("comment", "0"))
	}, "the archive is empty", nil},
}

func TestUnpackHostile(t *testing.T) {
	for _, c := range hostile {
		t.Run(c.name, func(t *testing.T) {
			a := newArchive(t)
			c.build(a)
			b := a.tar()
			for how, compress := range compressors {
				ar := newArena(t)
				st, err := ar.unpack(bytes.NewReader(compress(t, b)), UnpackLimits{})
				ar.check(t)
				outcome(t, err, c.want)
				ar.noted(t, st, err)
				if t.Failed() {
					t.Fatalf("as %q", how)
				}
				c.have.check(t, ar.root)
			}
		})
	}
	if len(hostile) < 40 {
		t.Errorf("only %d cases", len(hostile))
	}
}

// outcome checks an error of unpack against what is expected in it; empty: none.
func outcome(t testing.TB, err error, want string) {
	t.Helper()
	switch {
	case want == "" && err != nil:
		t.Errorf("refused: %v", err)
	case want != "" && err == nil:
		t.Errorf("accepted, want an error with %q", want)
	case err != nil && !strings.Contains(err.Error(), want):
		t.Errorf("got %q, want %q in it", err, want)
	case err != nil && len(err.Error()) > 400:
		t.Errorf("the error is %d bytes long", len(err.Error()))
	}
}

// What is wrong below the tar.
func TestUnpackStream(t *testing.T) {
	good := sampleImage(t)
	tarball := func() []byte { a := newArchive(t); a.file("f", "x"); return a.tar() }()
	bad := bytes.Clone(good)
	bad[len(bad)-6] ^= 1 // in the CRC
	for _, c := range []struct {
		name string
		data []byte
		want string
	}{
		{"good", good, ""},
		{"empty", nil, "empty: the server has sent nothing"},
		{"text", []byte("hello, this is no archive"), "not a tar or zip archive: it is something else"},
		{"tar without gzip", tarball, ""},
		{"gzip of nothing", gzipped(t, nil), "the archive is empty"},
		{"gzip of text", gzipped(t, []byte(strings.Repeat("text ", 500))), "not a tar or zip archive: inside of the gzip it is something else"},
		{"gzip of gzip", gzipped(t, good), "it is compressed twice"},
		{"gzip of a long gzip", gzipped(t, append(gzipped(t, []byte(long)), make([]byte, 1024)...)), "it is compressed twice"},
		{"cut in the header", good[:5], "ends too early"},
		{"cut in the middle", good[:len(good)/2], "ends too early"},
		{"cut before the checksum", good[:len(good)-8], "ends too early"},
		{"wrong checksum", bad, "checksum"},
		{"garbage after it", append(bytes.Clone(good), "garbage garbage"...), "data after the end of the gzip stream"},
		{"zeros after it", append(bytes.Clone(good), make([]byte, 512)...), "data after the end of the gzip stream"},
		{"short garbage after it", append(bytes.Clone(good), 'x'), "ends too early"},
		{"two members", slicesOfGzip(t, tarball), ""},
		{"padding to a large block", gzipped(t, append(bytes.Clone(tarball), make([]byte, 1<<20)...)), ""},
		{"second archive after the end", gzipped(t, append(bytes.Clone(tarball), tarball...)), "data after the end of the archive"},
		{"tar cut between entries", gzipped(t, tarball[:1024]), ""},
		{"tar cut in a body", gzipped(t, tarball[:512]), "ends too early"},
		{"tar cut in its first header", gzipped(t, tarball[:300]), "it is something else"},
	} {
		t.Run(c.name, func(t *testing.T) {
			ar := newArena(t)
			_, err := ar.unpack(bytes.NewReader(c.data), UnpackLimits{})
			ar.check(t)
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func slicesOfGzip(t testing.TB, b []byte) []byte {
	return append(gzipped(t, b[:600]), gzipped(t, b[600:])...)
}

func TestUnpackModesAndTimes(t *testing.T) {
	old := syscall.Umask(0o077)
	defer syscall.Umask(old)
	a := newArchive(t)
	a.dir("d/")
	a.mode("d/tool", 0o6711)
	a.mode("d/key", 0o400)
	a.mode("d/shared", 0o666)
	a.mode("d/odd", 0o010)
	ar := newArena(t)
	st, err := ar.unpack(bytes.NewReader(a.gz()), UnpackLimits{})
	if err != nil {
		t.Fatal(err)
	}
	ar.noted(t, st, err)
	st.List = manifest.Manifest{}
	if want := (stats{Format: "tar+gzip", Bytes: 4, Disk: 4*4096 + 5*1024, Entries: 5}); !reflect.DeepEqual(st, want) {
		t.Errorf("got %+v, want %+v", st, want)
	}
	for name, want := range map[string]fs.FileMode{
		"d": fs.ModeDir | 0o755, "d/tool": 0o755, "d/key": 0o444, "d/shared": 0o644, "d/odd": 0o555,
	} {
		fi, err := ar.root.Lstat(name)
		if err != nil {
			t.Fatal(err)
		}
		if fi.Mode() != want {
			t.Errorf("%s: mode %v, want %v", name, fi.Mode(), want)
		}
		if !fi.ModTime().Equal(someTime) {
			t.Errorf("%s: time %v, want %v", name, fi.ModTime(), someTime)
		}
	}
}

// zeros is a gzip of a header and then n MiB of zeros, made without them.
func zeros(t testing.TB, header []byte, n int) io.Reader {
	part := gzipped(t, make([]byte, 16<<20))
	all := []io.Reader{bytes.NewReader(gzipped(t, header))}
	for range n / 16 {
		all = append(all, bytes.NewReader(part))
	}
	return io.MultiReader(all...)
}

func TestUnpackBombs(t *testing.T) {
	huge := ustar("f", '0', 2<<30)
	many := newArchive(t)
	for range 1000 {
		many.dir("d")
	}
	if err := many.tw.Flush(); err != nil {
		t.Fatal(err)
	}
	thousand := gzipped(t, many.buf.Bytes())
	smaller := newArchive(t)
	smaller.raw(ustar("f", '0', 128<<20), "")
	half := bytes.Clone(smaller.buf.Bytes())
	raw := newArchive(t)
	raw.raw(huge, "")
	header := raw.buf.Bytes()
	small := newArchive(t)
	for n := range 4 {
		small.raw(ustar(fmt.Sprint("f", n), '0', 300<<10), strings.Repeat("\x00", 300<<10))
	}
	deep := newArchive(t)
	for n := range 30 {
		deep.file(fmt.Sprintf("%d/%sf", n, strings.Repeat("d/", 60)), "")
	}

	defer debug.SetGCPercent(debug.SetGCPercent(10)) // what is measured is in use, not garbage
	for _, c := range []struct {
		name string
		r    io.Reader
		lim  UnpackLimits
		want string
	}{
		{"2 GiB of zeros as a file", zeros(t, header, 2048), UnpackLimits{}, "unpacks to more than 1 GiB"},
		{"2 GiB of zeros after the end", zeros(t, sampleTar(t), 2048), UnpackLimits{Bytes: 1 << 20, Entries: 100}, "unpacks to more than"},
		{"zeros for nothing", zeros(t, sampleTar(t), 128), UnpackLimits{Ratio: 100}, "a bomb: "},
		{"zeros in zstd, of a size that is allowed", bytes.NewReader(zstandard(t, append(half, make([]byte, 128<<20)...))), UnpackLimits{}, "a bomb: "},
		{"300,000 entries", repeated(thousand, 300), UnpackLimits{}, "more than 50000 files"},
		{"several files too large together", bytes.NewReader(small.gz()), UnpackLimits{Bytes: 1 << 20}, "unpacks to more than 1 MiB"},
		{"implied folders count", bytes.NewReader(deep.gz()), UnpackLimits{Entries: 1000}, "more than 1000 files"},
	} {
		t.Run(c.name, func(t *testing.T) {
			ar := newArena(t)
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			_, err := ar.unpack(c.r, c.lim)
			runtime.ReadMemStats(&after)
			ar.check(t)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			if more := int64(after.HeapAlloc) - int64(before.HeapAlloc); more > 64<<20 {
				t.Errorf("the heap has grown by %s", size(more))
			}
		})
	}
}

func sampleTar(t testing.TB) []byte { a := newArchive(t); a.file("f", "x"); return a.tar() }

func repeated(part []byte, n int) io.Reader {
	all := make([]io.Reader, n)
	for i := range all {
		all[i] = bytes.NewReader(part)
	}
	return io.MultiReader(all...)
}

// 8 million regions in a sparse map: archive/tar bounds what it reads of one
// (CVE-2025-58183).
func TestUnpackSparseMap(t *testing.T) {
	h := gnuSparse("f", 1<<30)
	h[482] = 1 // isextended
	var ext [512]byte
	for n := range 21 {
		copy(ext[n*24:], "00000000001\x0000000000000\x00")
	}
	ext[504] = 1
	a := newArchive(t)
	a.raw(h, "")
	header := gzipped(t, a.buf.Bytes())
	maps := gzipped(t, bytes.Repeat(ext[:], 1000))
	ar := newArena(t)
	_, err := ar.unpack(io.MultiReader(bytes.NewReader(header), repeated(maps, 400)), UnpackLimits{})
	if err == nil {
		t.Error("accepted")
	}
	ar.check(t)
}

// FuzzUnpack unpacks anything: whatever it is, nothing outside of the root changes,
// what is in it has no rights, limits are kept, and so is a bound on memory.
func FuzzUnpack(f *testing.F) {
	for n, c := range hostile {
		a := newArchive(f)
		c.build(a)
		if b := a.tar(); len(b) < 64<<10 {
			f.Add(b)
			for how, compress := range compressors {
				if how != Uncompressed && n%8 == 0 {
					f.Add(compress(f, b))
				}
			}
		}
	}
	for _, c := range hostileZips {
		z := newZip(f)
		c.build(z)
		if b := z.bytes(); len(b) < 64<<10 {
			f.Add(b)
		}
	}
	f.Add(sampleImage(f))
	f.Fuzz(func(t *testing.T, data []byte) {
		lim := UnpackLimits{Bytes: 1 << 20, Entries: 200}
		ar := newArena(t)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		st, err := ar.unpack(bytes.NewReader(data), lim)
		runtime.ReadMemStats(&after)
		ar.check(t)
		ar.noted(t, st, err)
		if err == nil && (st.Bytes > lim.Bytes || st.Entries > lim.Entries || st.Entries == 0) {
			t.Errorf("got %+v within %+v", st, lim)
		}
		if took := after.TotalAlloc - before.TotalAlloc; took > 3*MaxWindow+maxZipDirectory {
			t.Errorf("it took %s of memory", size(int64(took)))
		}
	})
}
