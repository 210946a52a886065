package rootfs

import (
	"bytes"
	"io/fs"
	"reflect"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/gilliam/hypervisor/rootfs/manifest"
)

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
