package ext4

import (
	"fmt"
	"math"
)

// The units of the format. Blocks of a page are what every kernel can mount.
const (
	BlockSize      = 4096
	blocksPerGroup = 8 * BlockSize // what one block of bitmap covers
	inodeSize      = 256
	inodesPerBlock = BlockSize / inodeSize
	descSize       = 32
)

// Bounds of a Shape. A file of ext4's own, which an image may well lie in, ends at
// 16 TiB.
const (
	MinBytes  = 1 << 20
	MaxBytes  = 8 << 40
	MinInodes = 32
	MaxInodes = math.MaxInt32
)

// A Shape is how large a file system is and where everything is in it.
type Shape struct {
	Blocks int64 // all, those that describe the file system included
	Groups int64

	inodesPerGroup int64
	journal        int64 // blocks; 0: none
}

// NewShape shapes a file system in which files have that many bytes, rounded up to
// whole blocks, and in which there are at least that many inodes. It is pure.
func NewShape(bytes, inodes int64) (Shape, error) { return newShape(bytes, inodes, 0) }

// NewKeptShape shapes one that has a journal beside that: whenever the machine stops,
// the next mount finds it whole.
func NewKeptShape(bytes, inodes int64) (Shape, error) {
	return newShape(bytes, inodes, journalBlocks(divideUp(bytes, BlockSize)))
}

// journalBlocks is how large a journal is, as mke2fs(8) has it for file systems of
// these sizes, with no more than 32 MiB. The kernel wants 1024 blocks.
func journalBlocks(blocks int64) int64 {
	switch {
	case blocks < 32<<10:
		return 1 << 10
	case blocks < 256<<10:
		return 4 << 10
	}
	return 8 << 10
}

func newShape(bytes, inodes, journal int64) (Shape, error) {
	switch {
	case bytes < MinBytes || bytes > MaxBytes:
		return Shape{}, fmt.Errorf("%d bytes: must be %d to %d", bytes, int64(MinBytes), int64(MaxBytes))
	case inodes < MinInodes:
		return Shape{}, fmt.Errorf("%d inodes: must be at least %d", inodes, MinInodes)
	case inodes > divideUp(bytes, BlockSize) || inodes > MaxInodes:
		return Shape{}, fmt.Errorf("%d inodes: must be at most one for each %d bytes", inodes, BlockSize)
	}
	data := divideUp(bytes, BlockSize)
	s := Shape{Groups: divideUp(data, blocksPerGroup), journal: journal}
	for { // what describes the groups may need one more
		s.inodesPerGroup = divideUp(divideUp(inodes, s.Groups), inodesPerBlock) * inodesPerBlock
		s.Blocks = data + s.overhead()
		need := divideUp(s.Blocks, blocksPerGroup)
		if need < s.Groups { // more groups have fewer inodes each: the last one still has to begin
			s.Blocks = (s.Groups-1)*blocksPerGroup + 1
		}
		if need <= s.Groups {
			return s, nil
		}
		s.Groups = need
	}
}

// Size is the file system's in bytes, and so that of its file.
func (s Shape) Size() int64 { return s.Blocks * BlockSize }

// Bytes is what files, folders and what maps them can have of it: statfs(2)'s f_blocks,
// in bytes.
func (s Shape) Bytes() int64 { return (s.Blocks - s.overhead()) * BlockSize }

// Inodes is how many there are: statfs(2)'s f_files. Ten are the file system's
// own, and one is its root.
func (s Shape) Inodes() int64 { return s.Groups * s.inodesPerGroup }

// The blocks of a file system are, in this order: the superblock, the descriptors of
// the groups, their bitmaps of blocks, their bitmaps of inodes, their inode
// tables, the journal, the root folder, and what is free.

func (s Shape) descBlocks() int64  { return divideUp(s.Groups*descSize, BlockSize) }
func (s Shape) tableBlocks() int64 { return s.inodesPerGroup / inodesPerBlock }

func (s Shape) blockBitmap(group int64) int64 { return 1 + s.descBlocks() + group }
func (s Shape) inodeBitmap(group int64) int64 { return s.blockBitmap(s.Groups) + group }
func (s Shape) inodeTable(group int64) int64 {
	return s.inodeBitmap(s.Groups) + group*s.tableBlocks()
}

func (s Shape) journalBlock() int64 { return s.inodeTable(s.Groups) }

// overhead is how many blocks describe the file system.
func (s Shape) overhead() int64 { return s.journalBlock() + s.journal }

// rootBlock is where the root folder lies: behind what describes the file system.
func (s Shape) rootBlock() int64 { return s.overhead() }

// used is how many blocks are in use when it is made: they are the first ones.
func (s Shape) used() int64 { return s.rootBlock() + 1 }

// blocksOf is how many blocks a group has, of which used are in use.
func (s Shape) blocksOf(group int64) (all, used int64) {
	first := group * blocksPerGroup
	all = min(blocksPerGroup, s.Blocks-first)
	return all, max(0, min(all, s.used()-first))
}

func divideUp(n, by int64) int64 { return (n + by - 1) / by }
