package rootfs

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"fmt"
	"io/fs"
	"runtime"
	"strings"
	"testing"
)

// A zipped is built entry by entry, right or wrong.
type zipped struct {
	t   testing.TB
	buf bytes.Buffer
	zw  *zip.Writer
}

func newZip(t testing.TB) *zipped {
	z := &zipped{t: t}
	z.zw = zip.NewWriter(&z.buf)
	return z
}

func (z *zipped) add(h zip.FileHeader, mode fs.FileMode, body string) {
	z.t.Helper()
	h.SetMode(mode)
	h.Modified = someTime
	w, err := z.zw.CreateHeader(&h)
	if err == nil && body != "" {
		_, err = w.Write([]byte(body))
	}
	if err != nil {
		z.t.Fatal(err)
	}
}

func (z *zipped) file(name, body string) {
	z.t.Helper()
	z.add(zip.FileHeader{Name: name, Method: zip.Deflate}, 0o644, body)
}
func (z *zipped) dir(name string) {
	z.t.Helper()
	z.add(zip.FileHeader{Name: name}, fs.ModeDir|0o700, "")
}
func (z *zipped) mode(name string, mode fs.FileMode, body string) {
	z.t.Helper()
	z.add(zip.FileHeader{Name: name}, mode, body)
}

// raw adds an entry whose header says what it likes.
func (z *zipped) raw(h zip.FileHeader, body string) {
	z.t.Helper()
	w, err := z.zw.CreateRaw(&h)
	if err == nil {
		_, err = w.Write([]byte(body))
	}
	if err != nil {
		z.t.Fatal(err)
	}
}

func (z *zipped) bytes() []byte {
	z.t.Helper()
	if err := z.zw.Close(); err != nil {
		z.t.Fatal(err)
	}
	return z.buf.Bytes()
}

// hostileZips is to zip what hostile is to tar.
var hostileZips = []struct {
	name  string
	build func(z *zipped)
	want  string
	have  content
}{
	{"good", func(z *zipped) {
		z.dir("bin/")
		z.mode("bin/tool", 0o755, "x")
		z.file("a/b/c", "deep")
		z.mode("current", fs.ModeSymlink|0o777, "bin/tool")
	}, "", content{"bin": "/", "bin/tool": "x", "a/b/c": "deep", "current": "-> bin/tool"}},
	{"dotdot", func(z *zipped) { z.file("../canary/secret", "x") }, "leads out", nil},
	{"dotdot in the middle", func(z *zipped) { z.file("a/../../canary/secret", "x") }, "leads out", nil},
	{"absolute", func(z *zipped) { z.file("/etc/canary", "x") }, "absolute", nil},
	{"backslashes", func(z *zipped) { z.file(`..\canary\secret`, "x") }, "backslash", nil},
	{"symlink then file through it", func(z *zipped) {
		z.mode("l", fs.ModeSymlink|0o777, "../canary")
		z.file("l/secret", "x")
	}, "was a symbolic link before", nil},
	{"symlink then folder", func(z *zipped) { z.mode("l", fs.ModeSymlink|0o777, "../canary"); z.dir("l/") }, "was a symbolic link before", nil},
	{"symlink then file of its name", func(z *zipped) {
		z.mode("l", fs.ModeSymlink|0o777, "../canary/secret")
		z.file("l", "x")
	}, "", content{"l": "x"}},
	{"symlink to nothing", func(z *zipped) { z.mode("l", fs.ModeSymlink|0o777, "") }, "target is empty", nil},
	{"symlink with NUL", func(z *zipped) { z.mode("l", fs.ModeSymlink|0o777, "a\x00b") }, "NUL", nil},
	{"symlink of 1 MiB", func(z *zipped) { z.mode("l", fs.ModeSymlink|0o777, strings.Repeat("a", 1<<20)) }, "longer than 4096", nil},
	{"folder then file", func(z *zipped) { z.dir("d/"); z.file("d", "x") }, "was a folder before", nil},
	{"file then folder", func(z *zipped) { z.file("d", "x"); z.dir("d/") }, "was a file before", nil},
	{"duplicates, the last wins", func(z *zipped) { z.file("f", "1"); z.file("f", "2") }, "", content{"f": "2"}},
	{"names that differ by case", func(z *zipped) { z.file("README", "1"); z.file("readme", "2") }, "", content{"README": "1", "readme": "2"}},
	{"names that differ by composition", func(z *zipped) { z.file("\u00e9", "1"); z.file("e\u0301", "2") }, "", content{"\u00e9": "1", "e\u0301": "2"}},
	{"setuid, setgid, sticky", func(z *zipped) {
		z.mode("u", fs.ModeSetuid|0o755, "x")
		z.mode("g", fs.ModeSetgid|0o755, "x")
		z.mode("s", fs.ModeSticky|0o666, "x")
	}, "", content{"u": "x", "g": "x", "s": "x"}},
	{"device", func(z *zipped) { z.mode("null", fs.ModeDevice|fs.ModeCharDevice|0o666, "") }, "a device", nil},
	{"block device", func(z *zipped) { z.mode("sda", fs.ModeDevice|0o666, "") }, "a device", nil},
	{"fifo", func(z *zipped) { z.mode("p", fs.ModeNamedPipe|0o666, "") }, "a FIFO", nil},
	{"socket", func(z *zipped) { z.mode("s", fs.ModeSocket|0o666, "") }, "unknown type", nil},
	{"whiteout", func(z *zipped) { z.file(".wh.x", "") }, "whiteout", nil},
	{"not utf-8", func(z *zipped) { z.add(zip.FileHeader{Name: "caf\xe9", NonUTF8: true}, 0o644, "x") }, "not UTF-8", nil},
	{"nul in a name", func(z *zipped) { z.file("a\x00b", "x") }, "NUL", nil},
	{"no name", func(z *zipped) { z.file("", "x") }, "without a name", nil},
	{"too deep", func(z *zipped) { z.file(strings.Repeat("d/", 64)+"f", "x") }, "more than 64", nil},
	{"part too long", func(z *zipped) { z.file(long+"x", "x") }, "longer than 255", nil},
	{"encrypted", func(z *zipped) {
		z.raw(zip.FileHeader{Name: "f", Flags: 1, CompressedSize64: 1, UncompressedSize64: 1}, "x")
	}, "encrypted", nil},
	{"other method", func(z *zipped) {
		z.raw(zip.FileHeader{Name: "f", Method: 14, CompressedSize64: 1, UncompressedSize64: 1}, "x")
	}, "another way than store or deflate", nil},
	{"wrong checksum", func(z *zipped) {
		z.raw(zip.FileHeader{Name: "f", CRC32: 7, CompressedSize64: 1, UncompressedSize64: 1}, "x")
	}, "damaged: zip: checksum error", nil},
	{"larger than it says", func(z *zipped) {
		z.raw(zip.FileHeader{Name: "f", CompressedSize64: 100, UncompressedSize64: 1}, strings.Repeat("x", 100))
	}, "damaged", nil},
	{"smaller than it says", func(z *zipped) {
		z.raw(zip.FileHeader{Name: "f", CompressedSize64: 1, UncompressedSize64: 100}, "x")
	}, "ends too early", nil},
	{"says 2 GiB", func(z *zipped) {
		z.raw(zip.FileHeader{Name: "f", CompressedSize64: 1, UncompressedSize64: 2 << 30}, "x")
	}, "unpacks to more than 1 GiB", nil},
	{"says 16 EiB", func(z *zipped) {
		z.raw(zip.FileHeader{Name: "f", CompressedSize64: 1, UncompressedSize64: 1<<64 - 2}, "x")
	}, "too large", nil},
	{"body beyond the end", func(z *zipped) {
		z.raw(zip.FileHeader{Name: "f", CompressedSize64: 1 << 20, UncompressedSize64: 1 << 20}, "x")
	}, "", nil}, // its directory is read as its body; it ends too early
	{"comment", func(z *zipped) { z.file("f", "x"); _ = z.zw.SetComment("0123abc") }, "", content{"f": "x"}},
	{"zip in a zip", func(z *zipped) {
		inner := newZip(z.t)
		inner.file("../out", "x")
		z.file("inner.zip", string(inner.bytes()))
	}, "", nil},
}

func TestUnzipHostile(t *testing.T) {
	for _, c := range hostileZips {
		t.Run(c.name, func(t *testing.T) {
			z := newZip(t)
			c.build(z)
			ar := newArena(t)
			st, err := ar.unpack(bytes.NewReader(z.bytes()), UnpackLimits{})
			ar.check(t)
			if c.name == "body beyond the end" {
				c.want = "ends too early"
			}
			outcome(t, err, c.want)
			ar.noted(t, st, err)
			if err == nil && st.Format != "zip" {
				t.Errorf("format %q", st.Format)
			}
			c.have.check(t, ar.root)
		})
	}
}

// What is wrong with the zip itself.
func TestUnzipStream(t *testing.T) {
	z := newZip(t)
	z.file("f", "x")
	good := z.bytes()
	ends := bytes.LastIndex(good, []byte("PK\x05\x06"))
	patched := func(at int, b ...byte) []byte {
		p := bytes.Clone(good)
		copy(p[ends+at:], b)
		return p
	}
	many := newZip(t)
	for n := range 300 {
		many.file(fmt.Sprint("d", n, "/f"), "")
	}
	for _, c := range []struct {
		name string
		data []byte
		want string
	}{
		{"good", good, ""},
		{"cut", good[:len(good)/2], "damaged: zip: not a valid zip file"},
		{"no end", good[:ends], "damaged: zip: not a valid zip file"},
		{"empty", func() []byte { return newZip(t).bytes() }(), "an empty zip archive"},
		{"directory beyond the end", patched(16, 0xf0, 0xff, 0xff, 0x7f), "damaged"},
		{"directory of 4 GiB", patched(12, 0xff, 0xff, 0xff, 0xff), "damaged"},
		{"more entries than there are", patched(10, 9, 0), "ends too early"},
		{"too many entries", many.bytes(), "more than 200 files"},
		{"in a gzip", gzipped(t, good), "a zip archive inside of another compression"},
	} {
		t.Run(c.name, func(t *testing.T) {
			ar := newArena(t)
			_, err := ar.unpack(bytes.NewReader(c.data), UnpackLimits{Entries: 200})
			ar.check(t)
			outcome(t, err, c.want)
		})
	}
}

// Zips that are small and unpack to much: by one file, by files that share their
// bytes, and by a directory that is larger than anything it lists.
func TestUnzipBombs(t *testing.T) {
	one := newZip(t)
	one.file("f", strings.Repeat("\x00", 128<<20))

	overlap := newZip(t)
	overlap.file("f", strings.Repeat("\x00", 1<<20))
	shared := overlap.bytes()
	start := bytes.Index(shared, []byte("PK\x01\x02"))
	ends := bytes.LastIndex(shared, []byte("PK\x05\x06"))
	entry := shared[start:ends]
	directoryOf := func(n int) []byte {
		all := append(bytes.Clone(shared[:start]), bytes.Repeat(entry, n)...)
		end := bytes.Clone(shared[ends:])
		binary.LittleEndian.PutUint16(end[8:], uint16(n))
		binary.LittleEndian.PutUint16(end[10:], uint16(n))
		binary.LittleEndian.PutUint32(end[12:], uint32(n*len(entry)))
		return append(all, end...)
	}
	for _, c := range []struct {
		name string
		data []byte
		lim  UnpackLimits
		want string
	}{
		{"one file", one.bytes(), UnpackLimits{}, "a bomb: "},
		{"files that share their bytes", directoryOf(1000), UnpackLimits{Ratio: 1000}, "a bomb: "},
		{"100,000 entries", directoryOf(100_000), UnpackLimits{Entries: 1000}, "too large a directory"},
	} {
		t.Run(c.name, func(t *testing.T) {
			ar := newArena(t)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := ar.unpack(bytes.NewReader(c.data), c.lim)
			runtime.ReadMemStats(&after)
			ar.check(t)
			outcome(t, err, c.want)
			if more := int64(after.HeapAlloc) - int64(before.HeapAlloc); more > 64<<20 {
				t.Errorf("the heap has grown by %s", size(more))
			}
		})
	}
}
