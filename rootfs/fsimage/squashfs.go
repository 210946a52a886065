package fsimage

import (
	"encoding/binary"
	"fmt"
)

// squashMagic begins a squashfs image. The name of a file begins a tar, and could be
// this; but there a version does not follow.
const squashMagic = "hsqs"

// squashSuper is struct squashfs_super_block (fs/squashfs/squashfs_fs.h), little
// endian, as far as it is looked at.
type squashSuper struct {
	Magic       uint32
	Inodes      uint32
	Made        uint32
	BlockSize   uint32
	Fragments   uint32
	Compression uint16
	BlockLog    uint16
	Flags       uint16
	IDs         uint16
	Major       uint16
	Minor       uint16
	Root        uint64
	Bytes       uint64
}

// squashSize is how long the superblock is.
const squashSize = 96

// maxSquashLog is that of the largest block, 1 MiB.
const maxSquashLog = 20

// compressors are those that the kernel has, by their numbers.
var compressors = map[uint16]string{1: "gzip", 3: "lzo", 4: "xz", 5: "lz4", 6: "zstd"}

func readSquashfs(head []byte) (Image, error) {
	img := Image{Type: Squashfs}
	if len(head) < squashSize {
		return img, errShort
	}
	var s squashSuper
	if _, err := binary.Decode(head, binary.LittleEndian, &s); err != nil {
		return img, err
	}
	switch {
	case s.Major == 0 || s.Major > 4:
		return img, errOther
	case s.Major != 4 || s.Minor != 0:
		return img, fmt.Errorf("it is of version %d.%d, and must be of 4.0: make it with a newer mksquashfs", s.Major, s.Minor)
	case s.BlockLog > maxSquashLog || s.BlockSize != 1<<s.BlockLog:
		return img, fmt.Errorf("its block size is %d, and its logarithm %d", s.BlockSize, s.BlockLog)
	case compressors[s.Compression] == "":
		return img, fmt.Errorf("it is compressed in a way that the kernel does not know (%d): mksquashfs -comp gzip, lzo, xz, lz4 or zstd", s.Compression)
	case s.Inodes == 0 || s.Bytes < squashSize:
		return img, fmt.Errorf("it holds nothing")
	}
	img.Inodes, img.Bytes = uint64(s.Inodes), s.Bytes
	return img, nil
}
