package rootfs

import (
	"archive/tar"
	"bytes"
	"fmt"
	"strings"
	"testing"
)

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
