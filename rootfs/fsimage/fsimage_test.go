package fsimage_test

import (
	"encoding/binary"
	"strings"
	"testing"

	"github.com/gilliam/hypervisor/rootfs/fsimage"
)

// squash is the superblock of a squashfs image of 3 files, as mksquashfs 4.5 writes it.
func squash() []byte {
	b := make([]byte, fsimage.HeadSize)
	copy(b, "hsqs")
	le := binary.LittleEndian
	le.PutUint32(b[4:], 3)
	le.PutUint32(b[12:], 128<<10)
	le.PutUint16(b[20:], 6)
	le.PutUint16(b[22:], 17)
	le.PutUint16(b[28:], 4)
	le.PutUint64(b[40:], 12345)
	return b
}

// erofs is the superblock of an erofs image of 3 files, as mkfs.erofs 1.5 writes it.
func erofs() []byte {
	b := make([]byte, fsimage.HeadSize)
	le := binary.LittleEndian
	s := b[1024:]
	le.PutUint32(s, 0xE0F5E1E2)
	s[12] = 12
	le.PutUint64(s[16:], 3)
	le.PutUint32(s[36:], 5)
	return b
}

func with(b []byte, at int, value ...byte) []byte {
	copy(b[at:], value)
	return b
}

func TestRead(t *testing.T) {
	tar := make([]byte, fsimage.HeadSize)
	copy(tar, "hsqs-is-the-name-of-the-first-file-in-it")
	full := erofs()
	copy(full, "not blank")
	for _, c := range []struct {
		name string
		head []byte
		want fsimage.Image
		is   bool
		err  string
	}{
		{"nothing", nil, fsimage.Image{}, false, ""},
		{"zeros", make([]byte, fsimage.HeadSize), fsimage.Image{}, false, ""},
		{"a tar whose first name begins like squashfs", tar, fsimage.Image{}, false, ""},
		{"something with the mark of erofs in it", full, fsimage.Image{}, false, ""},

		{"squashfs", squash(), fsimage.Image{Type: fsimage.Squashfs, Inodes: 3, Bytes: 12345}, true, ""},
		{"squashfs, cut off", squash()[:95], fsimage.Image{}, true, "cut off"},
		{"squashfs 3", with(squash(), 28, 3), fsimage.Image{}, true, "version 3.0"},
		{"squashfs with a wrong block size", with(squash(), 22, 16), fsimage.Image{}, true, "block size"},
		{"squashfs with blocks that are too large", with(with(squash(), 22, 21), 12, 0, 0, 0x20, 0), fsimage.Image{}, true, "block size"},
		{"squashfs of lzma", with(squash(), 20, 2), fsimage.Image{}, true, "mksquashfs -comp"},
		{"squashfs without files", with(squash(), 4, 0), fsimage.Image{}, true, "nothing"},

		{"erofs", erofs(), fsimage.Image{Type: fsimage.Erofs, Inodes: 3, Bytes: 5 * 4096}, true, ""},
		{"erofs, cut off", erofs()[:1100], fsimage.Image{}, true, "cut off"},
		{"erofs with a wrong block size", with(erofs(), 1024+12, 40), fsimage.Image{}, true, "block size"},
		{"erofs with devices", with(erofs(), 1024+86, 1), fsimage.Image{}, true, "--blobdev"},
		{"erofs of many blocks", with(erofs(), 1024+80, 0x80), fsimage.Image{}, true, "48bit"},
		{"erofs without files", with(erofs(), 1024+16, 0), fsimage.Image{}, true, "nothing"},
	} {
		got, is, err := fsimage.Read(c.head)
		if got != c.want || is != c.is || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s: %+v, %v, %v; want %+v, %v and an error with %q", c.name, got, is, err, c.want, c.is, c.err)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add(squash())
	f.Add(erofs())
	f.Fuzz(func(t *testing.T, head []byte) {
		img, is, err := fsimage.Read(head)
		if known := img.Type == fsimage.Squashfs || img.Type == fsimage.Erofs; known != (is && err == nil) || known && img.Inodes == 0 {
			t.Errorf("%+v, %v, %v", img, is, err)
		}
	})
}
