package ext4

import "encoding/binary"

const (
	journalInode     = 8
	compatHasJournal = 0x4
)

func (s Shape) journalInode(id Identity) []byte {
	return s.inode(id, 0x8000|0o600, s.journalBlock(), s.journal)
}

// nameJournal says in the superblock where the journal is, and once more for e2fsck,
// should its inode be damaged.
func (s Shape) nameJournal(super []byte, id Identity) {
	if s.journal == 0 {
		return
	}
	le.PutUint32(super[0x5C:], le.Uint32(super[0x5C:])|compatHasJournal)
	le.PutUint32(super[0xE0:], journalInode)
	super[0xFD] = 1 // there is a copy of the inode's blocks and its size
	inode := s.journalInode(id)
	copy(super[0x10C:], inode[0x28:0x28+60])
	copy(super[0x10C+64:], inode[0x4:0x8])
}

// journalSuperblock is the first block of a journal that is empty. What is in a
// journal is big-endian (filesystems/ext4/journal.rst).
func (s Shape) journalSuperblock(id Identity) []byte {
	b := make([]byte, BlockSize)
	for at, v := range map[int]uint32{
		0x0:  0xC03B3998, // magic
		0x4:  4,          // superblock, version 2
		0xC:  BlockSize,
		0x10: uint32(s.journal),
		0x14: 1, // first block of the log
		0x18: 1, // first commit
		0x40: 1, // file systems that use it
	} {
		binary.BigEndian.PutUint32(b[at:], v)
	}
	copy(b[0x30:], id.UUID[:])
	return b
}
