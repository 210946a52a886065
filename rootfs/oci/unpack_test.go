//go:build integration

package oci

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// An entry of a layer with its content.
type entry struct {
	tar.Header
	body string
}

func file(name, body string) entry {
	return entry{tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644}, body}
}
func dir(name string) entry {
	return entry{tar.Header{Name: name, Typeflag: tar.TypeDir, Mode: 0o755}, ""}
}
func whiteout(name string) entry { return file(name, "") }
func sym(name, to string) entry {
	return entry{tar.Header{Name: name, Typeflag: tar.TypeSymlink, Linkname: to}, ""}
}
func hard(name, to string) entry {
	return entry{tar.Header{Name: name, Typeflag: tar.TypeLink, Linkname: to}, ""}
}
func node(name string, kind byte, mode int64) entry {
	return entry{tar.Header{Name: name, Typeflag: kind, Mode: mode, Devmajor: 1, Devminor: 3}, ""}
}

func (e entry) owned(uid, gid int) entry { e.Uid, e.Gid = uid, gid; return e }
func (e entry) mode(m int64) entry       { e.Mode = m; return e }

func layer(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		e.Size = int64(len(e.body))
		if e.ModTime.IsZero() {
			e.ModTime = time.Unix(1367409600, 0)
		}
		if err := w.WriteHeader(&e.Header); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(e.body)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// unpackIn unpacks a layer into a folder beside which there is a canary.
func unpackIn(t testing.TB, b []byte, lim Limits) (string, Stats, error) {
	t.Helper()
	top := filepath.Join(t.TempDir(), "layer")
	if err := os.Mkdir(top, 0o755); err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(top)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	st, err := Unpack(bytes.NewReader(b), root, lim)
	return top, st, err
}

// shape lists what a layer has become, one line a name.
func shape(t testing.TB, top string) string {
	t.Helper()
	var lines []string
	err := filepath.WalkDir(top, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		fi, err := d.Info()
		if err != nil {
			return err
		}
		st := fi.Sys().(*syscall.Stat_t)
		rel, _ := filepath.Rel(top, p)
		line := fmt.Sprintf("%s %v %d:%d", rel, fi.Mode(), st.Uid, st.Gid)
		list := make([]byte, 1<<10)
		n, err := unix.Llistxattr(p, list)
		if err != nil {
			return err
		}
		if n > 0 {
			line += " " + strings.ReplaceAll(strings.TrimSuffix(string(list[:n]), "\x00"), "\x00", " ")
		}
		switch {
		case fi.Mode().IsRegular():
			b, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			line += fmt.Sprintf(" %q", b)
			if st.Nlink > 1 {
				line += fmt.Sprintf(" ×%d", st.Nlink)
			}
		case fi.Mode()&fs.ModeSymlink != 0:
			to, err := os.Readlink(p)
			if err != nil {
				return err
			}
			line += " -> " + to
		case fi.Mode()&fs.ModeCharDevice != 0:
			line += fmt.Sprintf(" %d:%d", unix.Major(st.Rdev), unix.Minor(st.Rdev))
		}
		lines = append(lines, line)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

func TestUnpack(t *testing.T) {
	caps := file("bin/ping", "x").mode(0o4755)
	caps.PAXRecords = map[string]string{"SCHILY.xattr.security.capability": "\x01\x00\x00\x02", "SCHILY.xattr.trusted.overlay.redirect": "/etc"}
	top, st, err := unpackIn(t, layer(t,
		dir("./"),
		dir("home/app").owned(1000, 33).mode(0o2750),
		file("/home/app/run", "#!/bin/sh\n").owned(1000, 33).mode(0o700),
		caps,
		dir("tmp").mode(0o1777),
		sym("lib", "../../etc").owned(5, 6), hard("bin/again", "bin/ping"), hard("lib2", "lib"),
		whiteout("etc/.wh.passwd"),
		whiteout("opt/.wh..wh..opq"), file("opt/new", "1"),
		file("srv/old", "kept"), whiteout("srv/.wh.old"),
		whiteout(".wh.var"), file("var/x", "anew"),
		dir("usr"), whiteout(".wh.usr"),
		whiteout(".wh..wh.plnk"),
		node("run/pipe", tar.TypeFifo, 0o622).owned(7, 8),
		node("dev/null", tar.TypeChar, 0o666),
		file("twice", "1"), file("twice", "2"),
		file("ünïcode/\U0001F600", ""),
	), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	want := `. drwxr-xr-x 0:0
bin drwxr-xr-x 0:0
bin/again -rwxr-xr-x 0:0 "x" ×2
bin/ping -rwxr-xr-x 0:0 "x" ×2
etc drwxr-xr-x 0:0
etc/passwd Dc--------- 0:0 0:0
home drwxr-xr-x 0:0
home/app drwxr-x--- 1000:33
home/app/run -rwx------ 1000:33 "#!/bin/sh\n"
lib Lrwxrwxrwx 5:6 -> ../../etc
lib2 Lrwxrwxrwx 5:6 -> ../../etc
opt drwxr-xr-x 0:0 trusted.overlay.opaque
opt/new -rw-r--r-- 0:0 "1"
run drwxr-xr-x 0:0
run/pipe prw--w--w- 7:8
srv drwxr-xr-x 0:0
srv/old -rw-r--r-- 0:0 "kept"
tmp dtrwxrwxrwx 0:0
twice -rw-r--r-- 0:0 "2"
usr drwxr-xr-x 0:0 trusted.overlay.opaque
var drwxr-xr-x 0:0 trusted.overlay.opaque
var/x -rw-r--r-- 0:0 "anew"
ünïcode drwxr-xr-x 0:0
ünïcode/😀 -rw-r--r-- 0:0 ""`
	if got := shape(t, top); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if st.Opaque || st.Bytes != 22 {
		t.Errorf("stats: %+v", st)
	}
	if fi, err := os.Stat(filepath.Join(top, "home/app/run")); err != nil || !fi.ModTime().Equal(time.Unix(1367409600, 0)) {
		t.Errorf("%v, %v", fi, err)
	}
}

func TestUnpackOpaqueTop(t *testing.T) {
	top, st, err := unpackIn(t, layer(t, whiteout(".wh..wh..opq"), file("x", "")), Limits{})
	if err != nil || !st.Opaque {
		t.Errorf("%+v, %v", st, err)
	}
	if got, want := shape(t, top), ". drwxr-xr-x 0:0\nx -rw-r--r-- 0:0 \"\""; got != want {
		t.Errorf("got\n%s", got)
	}
}

// What a hostile layer tries is refused, and nothing is made outside its folder.
func TestUnpackHostile(t *testing.T) {
	long := strings.Repeat("a", 256)
	deep := strings.Repeat("d/", 65) + "x"
	for _, c := range []struct {
		what, want string
		entries    []entry
	}{
		{"above", "leads out", []entry{file("../canary/x", "")}},
		{"above inside", "leads out", []entry{file("a/../../canary/x", "")}},
		{"through a link", "no folder before", []entry{sym("a", "../canary"), file("a/x", "")}},
		{"through an absolute link", "no folder before", []entry{sym("a", "/tmp"), dir("a"), file("a/x", "")}},
		{"a folder that becomes a link", "was a folder before", []entry{dir("a"), sym("a", "../canary"), file("a/x", "")}},
		{"a link below a link", "no folder before", []entry{sym("a", "../canary"), sym("a/b", "x")}},
		{"hard link above", "leads out", []entry{hard("x", "../canary/secret")}},
		{"hard link through a link", "not in this layer", []entry{sym("a", "../canary"), hard("x", "a/secret")}},
		{"hard link to another layer", "not in this layer", []entry{hard("x", "etc/passwd")}},
		{"hard link to a folder", "neither", []entry{dir("a"), hard("x", "a")}},
		{"hard link to what was taken away", "not in this layer", []entry{whiteout(".wh.a"), hard("x", "a")}},
		{"whiteout of above", "no name of its own", []entry{whiteout(".wh...")}},
		{"whiteout of above in a folder", "no name of its own", []entry{whiteout("a/.wh...")}},
		{"whiteout of itself", "no name of its own", []entry{whiteout(".wh..")}},
		{"whiteout of nothing", "no name of its own", []entry{whiteout("a/.wh.")}},
		{"whiteout that is a folder", "no empty file", []entry{dir(".wh.a/")}},
		{"whiteout that is a link", "no empty file", []entry{sym(".wh.a", "../canary")}},
		{"whiteout with content", "no empty file", []entry{file(".wh.a", "x")}},
		{"below a whiteout", "begins with .wh.", []entry{file(".wh.a/b", "")}},
		{"below an opaque mark", "begins with .wh.", []entry{file("a/.wh..wh..opq/b", "")}},
		{"whiteout through a link", "no folder before", []entry{sym("a", "../canary"), whiteout("a/.wh.secret")}},
		{"opaque through a link", "no folder before", []entry{sym("a", "../canary"), whiteout("a/.wh..wh..opq")}},
		{"opaque file", "no folder before", []entry{file("a", ""), whiteout("a/.wh..wh..opq")}},
		{"below a file", "no folder before", []entry{file("a", ""), file("a/b", "")}},
		{"device", "a device", []entry{node("x", tar.TypeChar, 0o666)}},
		{"disk", "a device", []entry{node("etc/sda", tar.TypeBlock, 0o666)}},
		{"device by another name of /dev", "a device", []entry{node("dev", tar.TypeChar, 0o666)}},
		{"foreign owner", "belongs to 65534", []entry{file("x", "").owned(65534, 0)}},
		{"foreign group", "belongs to 0:4294967295", []entry{file("x", "").owned(0, 1<<32-1)}},
		{"long name", "longer than 255", []entry{file(long, "")}},
		{"deep name", "folders deep", []entry{file(deep, "")}},
		{"empty link", "target is empty", []entry{sym("a", "")}},
		{"contiguous file", "unknown type", []entry{node("a", tar.TypeCont, 0)}},
		{"too many", "more than 5 files", []entry{file("1", ""), file("2", ""), file("3", ""), file("a/b/c", "")}},
		{"too large", "more than 1000 bytes", []entry{file("1", strings.Repeat("x", 600)), file("2", strings.Repeat("x", 600))}},
	} {
		t.Run(c.what, func(t *testing.T) {
			top := t.TempDir()
			canary := filepath.Join(top, "canary")
			if err := os.Mkdir(canary, 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(canary, "secret"), []byte("sing"), 0o600); err != nil {
				t.Fatal(err)
			}
			before := shape(t, canary)
			if err := os.Mkdir(filepath.Join(top, "layer"), 0o755); err != nil {
				t.Fatal(err)
			}
			root, err := os.OpenRoot(filepath.Join(top, "layer"))
			if err != nil {
				t.Fatal(err)
			}
			defer root.Close()
			lim := Limits{}
			if strings.HasPrefix(c.what, "too ") {
				lim = Limits{Entries: 5, Bytes: 1000}
			}
			_, err = Unpack(bytes.NewReader(layer(t, c.entries...)), root, lim)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %s\n%s", err, c.want, shape(t, filepath.Join(top, "layer")))
			}
			if after := shape(t, canary); after != before {
				t.Errorf("the canary was\n%s\nand is\n%s", before, after)
			}
		})
	}
}

// FuzzUnpack lets nothing of any layer out of its folder, and leaves no device but
// whiteouts in it. It is best run with -fuzzminimizetime 20x, as FuzzLayer of package tree is.
func FuzzUnpack(f *testing.F) {
	f.Add(layer(f, dir("a"), file("a/b", "x"), whiteout("a/.wh.c"), whiteout("d/.wh..wh..opq"), sym("e", "../.."), hard("g", "a/b")))
	f.Add(layer(f, sym("a", ".."), file("a/x", "")))
	f.Fuzz(func(t *testing.T, b []byte) {
		top, st, err := unpackIn(t, b, Limits{Bytes: 1 << 20, Entries: 100})
		if st.Bytes > 1<<20 || err == nil && st.Entries > 100 {
			t.Errorf("beyond its limits: %+v", st)
		}
		beside, err := os.ReadDir(filepath.Dir(top))
		if err != nil || len(beside) != 1 {
			t.Errorf("beside the layer: %v, %v", beside, err)
		}
		filepath.WalkDir(top, func(p string, d fs.DirEntry, err error) error {
			if err != nil {
				return nil
			}
			fi, err := d.Info()
			if err != nil {
				t.Error(err)
				return nil
			}
			st := fi.Sys().(*syscall.Stat_t)
			if fi.Mode()&(fs.ModeSetuid|fs.ModeSetgid) != 0 || fi.Mode()&fs.ModeDevice != 0 && st.Rdev != 0 {
				t.Errorf("%s is %v", p, fi.Mode())
			}
			return nil
		})
	})
}
