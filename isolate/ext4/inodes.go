package ext4

// inodes is the beginning of the first inode table: up to the root's inode, or the
// journal's.
func (s Shape) inodes(id Identity) []byte {
	table := make([]byte, inodeSize*(rootInode-1))
	root := s.inode(id, 0x4000|0o755, s.rootBlock(), 1)
	setOwner(root, id)
	root[0x1A] = 2 // links: itself, and its name in itself
	table = append(table, root...)
	if s.journal > 0 {
		table = append(table, make([]byte, inodeSize*(journalInode-rootInode-1))...)
		table = append(table, s.journalInode(id)...)
	}
	return table
}

// inode is the inode of a file or folder that is so many blocks at one place.
func (s Shape) inode(id Identity, mode uint16, block, blocks int64) []byte {
	const extents = 0x80000
	b := make([]byte, inodeSize)
	now := uint32(id.Time.Unix())
	le.PutUint16(b[0x0:], mode)
	le.PutUint32(b[0x4:], uint32(blocks*BlockSize))
	for _, at := range []int{0x8, 0xC, 0x10, 0x90} { // accessed, changed, modified, made
		le.PutUint32(b[at:], now)
	}
	le.PutUint16(b[0x1A:], 1)                            // links
	le.PutUint32(b[0x1C:], uint32(blocks*BlockSize/512)) // sectors
	le.PutUint32(b[0x20:], extents)
	le.PutUint16(b[0x28:], 0xF30A) // one extent
	le.PutUint16(b[0x2A:], 1)
	le.PutUint16(b[0x2C:], 4)
	le.PutUint16(b[0x38:], uint16(blocks))
	le.PutUint32(b[0x3C:], uint32(block))
	le.PutUint16(b[0x80:], extraIsize)
	return b
}

func setOwner(inode []byte, id Identity) {
	le.PutUint16(inode[0x2:], uint16(id.UID))
	le.PutUint16(inode[0x18:], uint16(id.GID))
	le.PutUint16(inode[0x78:], uint16(id.UID>>16))
	le.PutUint16(inode[0x7A:], uint16(id.GID>>16))
}
