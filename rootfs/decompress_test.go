package rootfs

import (
	"bytes"
	"errors"
	"io"
	"os"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"
)

func decompressed(r io.Reader) ([]byte, Compression, error) {
	zr, how, err := Decompress(r)
	if err != nil {
		return nil, how, err
	}
	defer zr.Close()
	b, err := io.ReadAll(zr)
	return b, how, err
}

func TestDecompress(t *testing.T) {
	text := []byte(strings.Repeat("The quick brown fox. ", 10_000))
	broken := errors.New("the wire is cut")
	for how, compress := range compressors {
		t.Run(string(how), func(t *testing.T) {
			z := compress(t, text)
			check := func(what string, r io.Reader, want []byte) {
				t.Helper()
				got, h, err := decompressed(r)
				if err != nil || h != how || !bytes.Equal(got, want) {
					t.Errorf("%s: %d bytes, %q, %v; want %d", what, len(got), h, err, len(want))
				}
			}
			check("whole", bytes.NewReader(z), text)
			check("byte by byte", iotest.OneByteReader(bytes.NewReader(z)), text)
			check("twice", bytes.NewReader(append(bytes.Clone(z), z...)), append(bytes.Clone(text), text...))
			if _, _, err := decompressed(io.MultiReader(bytes.NewReader(z[:len(z)/2]), iotest.ErrReader(broken))); !errors.Is(err, broken) {
				t.Errorf("an error of the source became %v", err)
			}
			if how == Uncompressed {
				return
			}
			bad := bytes.Clone(z)
			bad[len(bad)/2] ^= 0x55
			for what, c := range map[string]struct {
				data []byte
				want string
			}{
				"a bit": {bad, "damaged: the " + string(how)},
				"cut":   {z[:len(z)/2], "ends too early"},
				"head":  {z[:7], "ends too early"},
				"after": {append(bytes.Clone(z), "garbage garbage garbage"...), "damaged: "},
			} {
				if _, _, err := decompressed(bytes.NewReader(c.data)); err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("%s: got %v, want %q", what, err, c.want)
				}
			}
		})
	}
	if _, _, err := Decompress(iotest.ErrReader(broken)); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
}

// What the real programs make: testdata/fox.zst is zstd -19, fox.xz is xz -9e.
func TestDecompressOfPrograms(t *testing.T) {
	for _, name := range []string{"fox.xz", "fox.zst"} {
		z, err := os.ReadFile("testdata/" + name)
		if err != nil {
			t.Fatal(err)
		}
		got, _, err := decompressed(bytes.NewReader(z))
		if want := strings.Repeat("the quick brown fox jumps over the lazy dog\n", 100_000); err != nil || string(got) != want {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
	}
}

// A stream says how much memory it takes to decompress. It is not believed.
func TestDecompressWindows(t *testing.T) {
	window := func(log byte) []byte { // a frame of zstd with one raw block
		return append([]byte("\x28\xb5\x2f\xfd\x00"), (log-10)<<3, 0x09, 0, 0, 'x')
	}
	for _, c := range []struct {
		name string
		data []byte
		ok   bool
	}{
		{"xz of 64 MiB", stored([]byte("x"), 28), true},
		{"xz of 96 MiB", stored([]byte("x"), 29), false},
		{"xz of 4 GiB", stored([]byte("x"), 40), false},
		{"zstd of 64 MiB", window(26), true},
		{"zstd of 128 MiB", window(27), false},
		{"zstd of 2 TiB", window(41), false},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		got, _, err := decompressed(bytes.NewReader(c.data))
		runtime.ReadMemStats(&after)
		if c.ok && (err != nil || string(got) != "x") || !c.ok && (err == nil || !strings.Contains(err.Error(), "needs more than 64 MiB of memory")) {
			t.Errorf("%s: %q, %v", c.name, got, err)
		}
		if took := after.TotalAlloc - before.TotalAlloc; took > MaxWindow+4<<20 || !c.ok && took > 4<<20 {
			t.Errorf("%s: %s of memory", c.name, size(int64(took)))
		}
	}
}
