package ext4

import (
	"encoding/binary"
	"fmt"
	"io"
	"time"
)

// An Identity is what makes a file system another one than one of the same shape.
type Identity struct {
	UUID [16]byte
	Seed [16]byte // of the hashes of names
	Time time.Time

	// UID and GID own the root folder.
	UID, GID uint32
}

// Format writes an empty file system into a new file: what it does not write must be
// zeroes. Its root folder has mode 0755.
func Format(w io.WriterAt, s Shape, id Identity) error {
	parts := []part{
		{0, append(make([]byte, superOffset), s.superblock(id)...)},
		{1, s.descriptors(id)},
		{s.blockBitmap(0), s.usedBitmaps()},
		{s.blockBitmap(s.Groups - 1), s.bitmapOf(s.Groups - 1)},
		{s.inodeBitmap(0), inodeBitmap(s.inodesPerGroup)},
		{s.inodeTable(0), s.inodes(id)},
		{s.rootBlock(), rootFolder()},
	}
	if s.journal > 0 {
		parts = append(parts, part{s.journalBlock(), s.journalSuperblock(id)})
	}
	for _, part := range parts {
		if _, err := w.WriteAt(part.data, part.block*BlockSize); err != nil {
			return fmt.Errorf("format ext4: block %d: %w", part.block, err)
		}
	}
	return nil
}

// A part is what stands at a block.
type part struct {
	block int64
	data  []byte
}

// Numbers of the format, from filesystems/ext4/ in the kernel's documentation.
const (
	superOffset = 1024 // of the superblock in its block
	superSize   = 1024
	magic       = 0xEF53
	firstInode  = 11
	rootInode   = 2
	logBlock    = 2 // 1024 << 2 bytes

	compatExtAttr      = 0x8   // extended attributes, which overlayfs needs
	compatDirIndex     = 0x20  // folders are searched by hashes
	compatSparseSuper2 = 0x200 // copies of the superblock are where it says: nowhere

	incompatFiletype = 0x2
	incompatExtents  = 0x40
	incompatFlexBG   = 0x200 // bitmaps and inode tables may lie in another group

	roCompatLargeFile  = 0x2
	roCompatHugeFile   = 0x8
	roCompatGdtCsum    = 0x10 // unused groups have neither bitmaps nor inodes yet
	roCompatDirNlink   = 0x20 // a folder may have more than 65,000 folders
	roCompatExtraIsize = 0x40

	groupInodeUninit = 0x1
	groupBlockUninit = 0x2
	groupInodeZeroed = 0x4

	hashHalfMD4  = 1
	flagUnsigned = 0x2 // names are hashed as unsigned characters
	defaultXattr = 0x4
	defaultACL   = 0x8
	extraIsize   = 32
	flexGroups   = 4 // 1 << 4 groups are allocated from as one
)

var le = binary.LittleEndian

func (s Shape) superblock(id Identity) []byte {
	b := make([]byte, superSize)
	now := uint32(id.Time.Unix())
	for at, v := range map[int]uint32{
		0x00:  uint32(s.Inodes()),
		0x04:  uint32(s.Blocks),
		0x0C:  uint32(s.Blocks - s.used()),
		0x10:  uint32(s.Inodes() - (firstInode - 1)),
		0x18:  logBlock,
		0x1C:  logBlock, // of a cluster
		0x20:  blocksPerGroup,
		0x24:  blocksPerGroup, // clusters
		0x28:  uint32(s.inodesPerGroup),
		0x30:  now, // written
		0x40:  now, // checked
		0x4C:  1,   // revision with what follows
		0x54:  firstInode,
		0x5C:  compatExtAttr | compatDirIndex | compatSparseSuper2,
		0x60:  incompatFiletype | incompatExtents | incompatFlexBG,
		0x64:  roCompatLargeFile | roCompatHugeFile | roCompatGdtCsum | roCompatDirNlink | roCompatExtraIsize,
		0x100: defaultXattr | defaultACL,
		0x108: now, // made
		0x160: flagUnsigned,
		0x248: uint32(s.overhead()),
	} {
		le.PutUint32(b[at:], v)
	}
	for at, v := range map[int]uint16{
		0x36:  0xFFFF, // never to be checked for its number of mounts
		0x38:  magic,
		0x3A:  1, // clean
		0x3C:  1, // go on after errors, as a mount may say otherwise
		0x58:  inodeSize,
		0x15C: extraIsize, // at least
		0x15E: extraIsize, // wanted
	} {
		le.PutUint16(b[at:], v)
	}
	copy(b[0x68:], id.UUID[:])
	copy(b[0xEC:], id.Seed[:])
	s.nameJournal(b, id)
	b[0xFC] = hashHalfMD4
	b[0x174] = flexGroups
	return b
}

// descriptors are those of all groups.
func (s Shape) descriptors(id Identity) []byte {
	table := make([]byte, s.Groups*descSize)
	for group := range s.Groups {
		all, used := s.blocksOf(group)
		inodes, folders := s.inodesPerGroup, int64(0)
		flags := groupInodeUninit | groupInodeZeroed
		unused := s.inodesPerGroup
		if group == 0 {
			flags &^= groupInodeUninit
			inodes, folders, unused = inodes-(firstInode-1), 1, unused-(firstInode-1)
		}
		// The last group's bitmap has to say where the file system ends: e2fsck asks
		// for it.
		if used == 0 && group != s.Groups-1 {
			flags |= groupBlockUninit
		}
		d := table[group*descSize:][:descSize]
		le.PutUint32(d[0x0:], uint32(s.blockBitmap(group)))
		le.PutUint32(d[0x4:], uint32(s.inodeBitmap(group)))
		le.PutUint32(d[0x8:], uint32(s.inodeTable(group)))
		le.PutUint16(d[0xC:], uint16(all-used))
		le.PutUint16(d[0xE:], uint16(inodes))
		le.PutUint16(d[0x10:], uint16(folders))
		le.PutUint16(d[0x12:], uint16(flags))
		le.PutUint16(d[0x1C:], uint16(unused))
		sum := crc16(0xFFFF, id.UUID[:])
		sum = crc16(sum, le.AppendUint32(nil, uint32(group)))
		le.PutUint16(d[0x1E:], crc16(sum, d[:0x1E]))
	}
	return table
}

// usedBitmaps are the bitmaps of the groups that have blocks in use, the first ones.
func (s Shape) usedBitmaps() []byte {
	var b []byte
	for group := range divideUp(s.used(), blocksPerGroup) {
		b = append(b, s.bitmapOf(group)...)
	}
	return b
}

// bitmapOf is the bitmap of a group's blocks. What lies behind the end of the file
// system is in use.
func (s Shape) bitmapOf(group int64) []byte {
	all, used := s.blocksOf(group)
	b := make([]byte, BlockSize)
	setBits(b, 0, used)
	setBits(b, all, blocksPerGroup)
	return b
}

// inodeBitmap is the bitmap of the first group's inodes.
func inodeBitmap(inodes int64) []byte {
	b := make([]byte, BlockSize)
	setBits(b, 0, firstInode-1)
	setBits(b, inodes, 8*BlockSize)
	return b
}

func setBits(b []byte, from, to int64) {
	for n := from; n < to; n++ {
		if n%8 == 0 && to-n >= 8 {
			b[n/8] = 0xFF
			n += 7
			continue
		}
		b[n/8] |= 1 << (n % 8)
	}
}

// rootFolder is the block of a folder that holds itself and, as its parent, itself.
func rootFolder() []byte {
	const folder, dot = 2, 12
	b := make([]byte, BlockSize)
	for _, e := range []struct {
		at, size int
		name     string
	}{{0, dot, "."}, {dot, BlockSize - dot, ".."}} {
		le.PutUint32(b[e.at:], rootInode)
		le.PutUint16(b[e.at+4:], uint16(e.size))
		b[e.at+6], b[e.at+7] = byte(len(e.name)), folder
		copy(b[e.at+8:], e.name)
	}
	return b
}
