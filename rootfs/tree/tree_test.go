package tree

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestTar(t *testing.T) {
	b := newBench(t)
	var read int
	b.w.Read = func(n int) { read += n }
	err := b.tar(
		entry{tar.TypeDir, "./", "", 0o711}, dir("/usr/bin/"), entry{tar.TypeReg, "usr/bin/su", "program", 0o4755}, link("bin", "usr/bin"), link("abs", "/usr"),
		file("bin/sh", "shell"), hard("usr/bin/dash", "bin/sh"), file("abs/lib/x", "1"), hard("abs/lib/y", "/abs/lib/x"), file("twice", "1"), file("twice", "2"),
		entry{tar.TypeDir, "tmp", "", 0o1777}, hard("twice", "./twice"),
		entry{tar.TypeChar, "dev/null", "", 0o666}, entry{tar.TypeFifo, "run/initctl", "", 0o600},
	)
	err = errors.Join(err, b.w.Add(&tar.Header{Name: "pax_global_header", Typeflag: tar.TypeXGlobalHeader}, nil), b.w.Finish())
	if err != nil {
		t.Fatal(err)
	}
	if got, want := b.names(), "abs bin tmp/ twice usr/ usr/bin/ usr/bin/dash usr/bin/sh usr/bin/su usr/lib/ usr/lib/x usr/lib/y"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	for name, want := range map[string]string{"twice": "2", "usr/bin/dash": "shell", "usr/lib/y": "1"} {
		if got := b.read(name); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	for name, want := range map[string]fs.FileMode{
		"": fs.ModeDir | 0o711, "tmp": fs.ModeDir | fs.ModeSticky | 0o777, "usr/bin/su": fs.ModeSetuid | 0o755, "usr/lib": fs.ModeDir | 0o755, "bin": fs.ModeSymlink | 0o777,
	} {
		fi, err := os.Lstat(filepath.Join(b.dir, name))
		if err != nil || fi.Mode() != want {
			t.Errorf("%s: got %v, %v, want %v", name, fi.Mode(), err, want)
		}
		if name != "usr/lib" && !fi.ModTime().Equal(date) { // no entry was about that one
			t.Errorf("%s: is of %v", name, fi.ModTime())
		}
	}
	if b.w.Skipped != 2 || read != len("program"+"shell"+"1"+"1"+"2") {
		t.Errorf("skipped %d, read %d", b.w.Skipped, read)
	}
}

// Later entries take the place of earlier ones, whatever those were.
func TestReplace(t *testing.T) {
	b := newBench(t)
	err := b.tar(dir("a"), file("a/b/c", "1"), file("x", "1"), hard("y", "x"), link("l", "a"),
		file("a", "now a file"), dir("x"), file("x/in", "2"), dir("l"), file("l/own", ""), link("y", "a"))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := b.names(), "a l/ l/own x/ x/in y"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// What leads out leads nowhere, or to a place of that name in the tree.
func TestConfined(t *testing.T) {
	for name, c := range map[string]struct {
		entries []entry
		want    string // of the error; empty: there is none
		names   string
	}{
		"dotdot":                {[]entry{file("../x", "")}, "leads out of the archive", ""},
		"dotdot in the midst":   {[]entry{file("a/../../canary/x", "")}, "leads out of the archive", ""},
		"dotdot at the end":     {[]entry{dir("a/..")}, "leads out of the archive", ""},
		"absolute":              {[]entry{file("/canary/x", "")}, "", "canary/ canary/x"},
		"NUL":                   {[]entry{}, "", ""},
		"no name":               {[]entry{file("", "")}, "without a name", ""},
		"link, then below":      {[]entry{link("l", "../canary"), file("l/x", "")}, `"l" leads nowhere`, "l"},
		"link there is":         {[]entry{dir("canary"), link("l", "../canary"), file("l/x", "")}, "", "canary/ canary/x l"},
		"absolute link":         {[]entry{link("l", "CANARY"), file("l/x", "")}, `"l" leads nowhere`, "l"},
		"link of links":         {[]entry{link("a", ".."), link("b", "a/.."), dir("canary"), file("b/canary/x", "")}, "", "a b canary/ canary/x"},
		"loop":                  {[]entry{link("a", "b"), link("b", "a"), file("a/x", "")}, `"a" is no folder`, "a b"},
		"through /proc":         {[]entry{link("p", "/proc/self/cwd"), file("p/x", "")}, "leads nowhere", "p"},
		"onto a link":           {[]entry{link("l", "CANARY/x"), file("l", "mine")}, "", "l"},
		"folder onto a link":    {[]entry{link("l", "CANARY/d"), entry{tar.TypeDir, "l", "", 0o700}}, "", "l/"},
		"below a file":          {[]entry{file("f", ""), file("f/x", "")}, `"f" is no folder`, "f"},
		"hard link out":         {[]entry{hard("h", "../canary/x")}, "leads out of the archive", ""},
		"hard link by a link":   {[]entry{link("l", "../canary"), hard("h", "l/x")}, "which is not there before it", "l"},
		"hard link to a link":   {[]entry{link("l", "CANARY/x"), hard("h", "l"), file("h", "mine")}, "", "h l"},
		"hard link to a folder": {[]entry{dir("d"), hard("h", "d")}, "or no file", "d/"},
		"hard link to nothing":  {[]entry{hard("h", "none")}, "not there before it", ""},
		"the top a file":        {[]entry{file(".", "")}, "must be a folder", ""},
		"the top a link":        {[]entry{link("./", "CANARY")}, "must be a folder", ""},
		"too deep":              {[]entry{file(strings.Repeat("a/", 300)+"x", "")}, "folders deep", ""},
		"too long":              {[]entry{file(strings.Repeat("a", 5000), "")}, "longer than", ""},
		"a part too long":       {[]entry{file(strings.Repeat("a", 300), "")}, "part longer than 255", ""},
		"link without target":   {[]entry{link("l", "")}, "is empty", ""},
		"unknown":               {[]entry{{'Q', "x", "", 0}}, "of unknown type", ""},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			for n := range c.entries {
				c.entries[n].body = strings.ReplaceAll(c.entries[n].body, "CANARY", b.canary)
			}
			err := b.tar(c.entries...)
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			if got := b.names(); got != c.names {
				t.Errorf("got %s, want %s", got, c.names)
			}
			if err := b.w.Finish(); err != nil {
				t.Error(err)
			}
		})
	}
	b := newBench(t)
	for _, h := range []*tar.Header{{Name: "a\x00b", Typeflag: tar.TypeReg}, {Name: "l", Linkname: "a\x00b", Typeflag: tar.TypeSymlink}, {Name: "l", Linkname: "a\x00b", Typeflag: tar.TypeLink}} {
		if err := b.w.Add(h, strings.NewReader("")); err == nil || !strings.Contains(err.Error(), "NUL") {
			t.Errorf("got %v", err)
		}
	}
	for _, h := range []*tar.Header{{Name: "a", Typeflag: tar.TypeReg, Uid: -1}, {Name: "a", Typeflag: tar.TypeDir, Gid: 1 << 32}, {Name: "a", Typeflag: tar.TypeSymlink, Linkname: "x", Uid: 65536}} {
		if err := b.w.Add(h, strings.NewReader("")); err == nil || !strings.Contains(err.Error(), "0 to 65535 only") {
			t.Errorf("got %v", err)
		}
	}
}

func TestLayers(t *testing.T) {
	for name, c := range map[string]struct {
		base, layer []entry
		want        string
	}{
		"one":                  {[]entry{file("a/x", ""), file("a/y", "")}, []entry{file("a/.wh.x", "")}, "a/ a/y"},
		"a folder":             {[]entry{file("a/x", ""), file("b", "")}, []entry{file(".wh.a", "")}, "b"},
		"by an absolute name":  {[]entry{file("a/x", "")}, []entry{file("/a/.wh.x", "")}, "a/"},
		"opaque":               {[]entry{file("a/x", ""), file("a/d/y", "")}, []entry{dir("a"), file("a/.wh..wh..opq", ""), file("a/z", "")}, "a/ a/z"},
		"opaque comes last":    {[]entry{file("a/x", ""), file("a/d/y", "")}, []entry{file("a/z", ""), file("a/d/w", ""), file("a/.wh..wh..opq", "")}, "a/ a/d/ a/d/w a/z"},
		"opaque top":           {[]entry{file("a", "")}, []entry{file("b", ""), file(".wh..wh..opq", "")}, "b"},
		"not its own":          {[]entry{file("a", "1")}, []entry{file("a", "2"), file(".wh.a", "")}, "a"},
		"its own, and then":    {[]entry{file("a/x", "1")}, []entry{file(".wh.a", ""), file("a/y", "")}, "a/ a/y"},
		"in a folder of both":  {[]entry{file("a/x", ""), file("a/y", "")}, []entry{file("a/z", ""), file(".wh.a", "")}, "a/ a/z"},
		"of nothing":           {[]entry{dir("a")}, []entry{file("a/.wh.x", ""), file("b/.wh.x", ""), file("c/d/.wh..wh..opq", "")}, "a/"},
		"aufs":                 {[]entry{dir("a")}, []entry{dir(".wh..wh.plnk"), file(".wh..wh.aufs", "")}, "a/"},
		"a hard link stays":    {[]entry{file("a", "1"), hard("b", "a")}, []entry{file(".wh.a", "")}, "b"},
		"through a link":       {[]entry{dir("usr/lib"), file("usr/lib/x", ""), link("lib", "usr/lib")}, []entry{file("lib/.wh.x", ""), file("lib/y", "")}, "lib usr/ usr/lib/ usr/lib/y"},
		"a link and no target": {[]entry{file("a/x", ""), link("l", "a")}, []entry{file(".wh.l", "")}, "a/ a/x"},
		"opaque, and a link":   {[]entry{dir("usr/lib/d"), file("usr/x", ""), link("lib", "usr/lib")}, []entry{file("lib/y", ""), file("usr/.wh..wh..opq", "")}, "lib usr/ usr/lib/ usr/lib/y"},
		"out by a link":        {[]entry{link("l", "CANARY")}, []entry{file("l/.wh.x", ""), file("l/.wh..wh..opq", "")}, "l"},
		"out by dotdot":        {[]entry{link("l", "../canary")}, []entry{file("l/.wh.x", ""), file("l/.wh..wh..opq", "")}, "l"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			for n := range c.base {
				c.base[n].body = strings.ReplaceAll(c.base[n].body, "CANARY", b.canary)
			}
			b.layer(c.base...)
			b.layer(c.layer...)
			if got := b.names(); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
			if err := b.w.Finish(); err != nil {
				t.Error(err)
			}
		})
	}
	for _, name := range []string{".wh.", ".wh..", ".wh...", "a/.wh..", "a/.wh..."} {
		b := newBench(t)
		b.layer(dir("a"))
		err := b.w.Layer(t.Context(), bytes.NewReader(pack(t, file(name, ""))))
		if err == nil || !strings.Contains(err.Error(), "a whiteout of no name") {
			t.Errorf("%s: got %v", name, err)
		}
		if got := b.names(); got != "a/" {
			t.Errorf("%s: got %s", name, got)
		}
	}
	// In a tar that is no layer they are names like others.
	b := newBench(t)
	if err := b.tar(file("a", ""), file(".wh.a", "")); err != nil || b.names() != ".wh.a a" {
		t.Errorf("got %s, %v", b.names(), err)
	}
}

// A folder and a tar of it make the same tree.
func TestFolder(t *testing.T) {
	from := newBench(t)
	err := from.tar(dir("."), dir("usr/bin"), entry{tar.TypeReg, "usr/bin/su", "program", 0o4755}, hard("usr/bin/so", "usr/bin/su"),
		link("bin", "usr/bin"), link("out", from.canary), hard("out2", "out"), entry{tar.TypeDir, "tmp", "", 0o1777}, entry{tar.TypeDir, "closed", "", 0}, file("long", strings.Repeat("x", 1<<20)))
	err = errors.Join(err, unix.Mkfifo(from.dir+"/pipe", 0o600), unix.Setxattr(from.dir+"/long", "user.a", []byte("b"), 0))
	if err := errors.Join(err, from.w.Finish()); err != nil {
		t.Fatal(err)
	}
	to := newBench(t)
	if err := errors.Join(to.w.Folder(t.Context(), from.dir), to.w.Finish()); err != nil {
		t.Fatal(err)
	}
	if to.w.Skipped != 1 {
		t.Errorf("skipped %d", to.w.Skipped)
	}
	if err := os.Remove(from.dir + "/pipe"); err != nil {
		t.Fatal(err)
	}
	if got, want := to.hash(to.dir), from.hash(from.dir); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	var a, b unix.Stat_t
	if err := errors.Join(unix.Lstat(to.dir+"/usr/bin/su", &a), unix.Lstat(to.dir+"/usr/bin/so", &b)); err != nil || a.Ino != b.Ino || a.Nlink != 2 || a.Mtim.Sec != date.Unix() {
		t.Errorf("got %+v and %+v, %v", a, b, err)
	}
	if err := to.w.Folder(t.Context(), filepath.Dir(to.dir)); err == nil || !strings.Contains(err.Error(), "a part of itself") {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := to.w.Folder(ctx, from.dir); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if err := to.w.Tar(ctx, bytes.NewReader(pack(t, dir("a")))); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// Whatever a tar says, nothing beside the tree is touched. To be run with
// -fuzzminimizetime 20x: goroutines hash the canary, so that each run covers something
// else, and to minimize what seems new, for a minute each, would take all of the time.
func FuzzLayer(f *testing.F) {
	f.Add(pack(f, link("l", "../canary"), file("l/x", ""), file("l/.wh.x", "")))
	f.Add(pack(f, link("l", ".."), hard("h", "l/canary/x"), file("h", "mine")))
	f.Add(pack(f, dir("a"), file("a/.wh..wh..opq", ""), file(".wh.a", ""), file("/abs", "")))
	f.Fuzz(func(t *testing.T, text []byte) {
		b := newBench(t)
		// Who is not root may not give files away.
		_ = b.w.Layer(t.Context(), bytes.NewReader(text))
		_ = b.w.Layer(t.Context(), bytes.NewReader(text))
		_ = b.w.Finish()
	})
}
