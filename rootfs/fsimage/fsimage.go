package fsimage

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
)

// A Type is what the kernel calls a file system.
type Type string

// The types that [Read] knows.
const (
	Squashfs Type = "squashfs"
	Erofs    Type = "erofs"
)

// Types are all of them.
func Types() []Type { return []Type{Squashfs, Erofs} }

// An Image is what the superblock of an image says.
type Image struct {
	Type   Type
	Inodes uint64 // files, folders and others
	Bytes  uint64 // of the image, without what may follow it
}

// HeadSize is how much of the beginning of a file [Read] wants to see.
const HeadSize = 2 << 10

// Read reads the superblock of an image from the beginning of a file, of which head is
// all when it is shorter than [HeadSize]. If the file is no image of a type that is
// known, is tells so. An error says why the kernel would not take what is one.
func Read(head []byte) (img Image, is bool, err error) {
	switch {
	case bytes.HasPrefix(head, []byte(squashMagic)):
		img, err = readSquashfs(head)
	case len(head) >= erofsOffset+4 && binary.LittleEndian.Uint32(head[erofsOffset:]) == erofsMagic && blank(head[:erofsOffset]):
		img, err = readErofs(head)
	default:
		return Image{}, false, nil
	}
	if errors.Is(err, errOther) {
		return Image{}, false, nil
	}
	if err != nil {
		return Image{}, true, fmt.Errorf("an image of %s that cannot be mounted: %w", img.Type, err)
	}
	return img, true, nil
}

// errOther is a file that begins like an image and is none.
var errOther = errors.New("something else")

var errShort = errors.New("its superblock is cut off")

// blank tells whether there is nothing: a tar that begins so is empty.
func blank(b []byte) bool { return len(bytes.Trim(b, "\x00")) == 0 }
