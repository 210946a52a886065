package ext4

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var identity = Identity{UUID: [16]byte{1, 2, 3}, Seed: [16]byte{4, 5, 6}, Time: time.Unix(1_700_000_000, 0)}

// format makes a file system in a new file.
func format(t testing.TB, s Shape) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "image")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(s.Size()); err != nil {
		t.Fatal(err)
	}
	if err := Format(f, s, identity); err != nil {
		t.Fatal(err)
	}
	return path
}

// check asks e2fsck, which changes nothing, whether there is something to mend.
func check(t testing.TB, path string) {
	t.Helper()
	out, err := exec.Command("e2fsck", "-f", "-n", path).CombinedOutput()
	if err != nil {
		t.Fatalf("e2fsck: %v\n%s", err, out)
	}
}

var shapes = []struct{ bytes, inodes int64 }{
	{1 << 20, 32}, {1 << 20, 256}, {64 << 20, 4096}, {127 << 20, 8192}, {128<<20 - 4096, 32767}, {128 << 20, 32},
	{1 << 30, 65536}, {1 << 30, 262144}, {10<<30 + 1, 1 << 20}, {1 << 40, 1 << 24}, {MaxBytes, 1 << 20},
}

func TestFormat(t *testing.T) {
	testFormat(t, NewShape)
	t.Run("kept", func(t *testing.T) {
		testFormat(t, NewKeptShape, "Filesystem features:      has_journal ", "Journal inode:            8\n", "Journal backup:           inode blocks\n")
	})
}

func testFormat(t *testing.T, newShape func(bytes, inodes int64) (Shape, error), says ...string) {
	for _, c := range shapes {
		t.Run(fmt.Sprintf("%d bytes, %d inodes", c.bytes, c.inodes), func(t *testing.T) {
			s, err := newShape(c.bytes, c.inodes)
			if err != nil {
				t.Fatal(err)
			}
			path := format(t, s)
			check(t, path)
			out, err := exec.Command("dumpe2fs", "-h", path).CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			for _, want := range append(says,
				fmt.Sprintf("Inode count:              %d\n", s.Inodes()),
				fmt.Sprintf("Block count:              %d\n", s.Blocks),
				fmt.Sprintf("Overhead clusters:        %d\n", s.overhead()),
			) {
				if !strings.Contains(string(out), want) {
					t.Errorf("no %q in\n%s", want, out)
				}
			}
		})
	}
}

func TestShapeRefused(t *testing.T) {
	for _, c := range []struct{ bytes, inodes int64 }{
		{0, 32}, {-1, 32}, {MinBytes - 1, 32}, {MaxBytes + 1, 32}, {1 << 62, 32},
		{1 << 20, 0}, {1 << 20, -1}, {1 << 20, 31}, {1 << 20, 257}, {MaxBytes, MaxInodes + 1},
	} {
		if s, err := NewShape(c.bytes, c.inodes); err == nil {
			t.Errorf("%+v: got %+v", c, s)
		}
	}
}

// Whatever is asked for is there, and not much more; what describes the file system
// lies within it, and one part behind the other. Small ones e2fsck has nothing to mend
// of.
func FuzzShape(f *testing.F) {
	for _, c := range shapes {
		f.Add(c.bytes, c.inodes)
	}
	f.Add(int64(blocksPerGroup*BlockSize-9*BlockSize), int64(64))
	f.Add(int64(1<<30-1<<20), int64(70000))
	f.Fuzz(func(t *testing.T, bytes, inodes int64) {
		s, err := NewShape(bytes, inodes)
		if err != nil {
			return
		}
		if got := s.Bytes(); got < bytes || got >= bytes+(blocksPerGroup+2*s.Groups)*BlockSize {
			t.Errorf("%d bytes, asked for %d", got, bytes)
		}
		if got := s.Inodes(); got < inodes || got >= inodes+s.Groups*2*inodesPerBlock {
			t.Errorf("%d inodes, asked for %d in %d groups", got, inodes, s.Groups)
		}
		if s.Groups != divideUp(s.Blocks, blocksPerGroup) || s.used() > s.Blocks || s.inodesPerGroup > 8*BlockSize || s.Blocks > 1<<32-1 {
			t.Errorf("%+v: used %d", s, s.used())
		}
		if s.Size() < 1<<30 {
			check(t, format(t, s))
		}
		kept, err := NewKeptShape(bytes, inodes)
		if err != nil || kept.Bytes() < bytes || kept.journal < 1024 || kept.Size() < s.Size()+1024*BlockSize {
			t.Errorf("with a journal: %+v %v", kept, err)
		}
		if kept.Size() < 1<<30 {
			check(t, format(t, kept))
		}
	})
}

func BenchmarkFormat(b *testing.B) {
	s, err := NewShape(1<<30, 65536)
	if err != nil {
		b.Fatal(err)
	}
	f, err := os.CreateTemp(b.TempDir(), "")
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(s.Size()); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := Format(f, s, identity); err != nil {
			b.Fatal(err)
		}
	}
}
