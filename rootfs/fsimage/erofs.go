package fsimage

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// erofsOffset is where the superblock is; what comes before it is for boot loaders,
// and empty in an image that is taken.
const (
	erofsOffset = 1024
	erofsMagic  = 0xE0F5E1E2
)

// erofsSuper is struct erofs_super_block (fs/erofs/erofs_fs.h), little endian, as
// far as it is looked at.
type erofsSuper struct {
	Magic    uint32
	Checksum uint32
	Compat   uint32
	BlockLog uint8
	Slots    uint8
	Root     uint16
	Inodes   uint64
	Made     uint64
	MadeNsec uint32
	Blocks   uint32
	Meta     uint32
	Xattr    uint32
	UUID     [16]byte
	Volume   [16]byte
	Incompat uint32
	Algs     uint16
	Devices  uint16
}

// erofsSize is how long the superblock is without extensions.
const erofsSize = 128

// erofsFar is the feature by which an image can have more than 2^32 blocks: Blocks
// is only the lower part of how many (EROFS_FEATURE_INCOMPAT_48BIT, Linux 6.15).
const erofsFar = 0x80

func readErofs(head []byte) (Image, error) {
	img := Image{Type: Erofs}
	if len(head) < erofsOffset+erofsSize {
		return img, errShort
	}
	var s erofsSuper
	if _, err := binary.Decode(head[erofsOffset:], binary.LittleEndian, &s); err != nil {
		return img, err
	}
	switch {
	case s.BlockLog < 9 || s.BlockLog > 16:
		return img, fmt.Errorf("the logarithm of its block size is %d", s.BlockLog)
	case s.Devices != 0:
		return img, errors.New("it has parts in other files: make it of one file, without --blobdev")
	case s.Incompat&erofsFar != 0:
		return img, errors.New("it is made for more than 2^32 blocks: make it without -E48bit")
	case s.Inodes == 0 || s.Blocks == 0:
		return img, errors.New("it holds nothing")
	}
	img.Inodes, img.Bytes = s.Inodes, uint64(s.Blocks)<<s.BlockLog
	return img, nil
}
