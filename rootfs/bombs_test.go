package rootfs

import (
	"bytes"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
)

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
