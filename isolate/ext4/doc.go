// Package ext4 makes small ext4 file systems that nobody keeps: the writable
// layers of sandboxes, each in a sparse file. Their number of bytes and of inodes is
// what the kernel lets a sandbox use.
//
//	shape, err := ext4.NewShape(1<<30, 65536) // pure
//	f, err := os.Create(path)
//	err = ext4.Format(f, shape, ext4.Identity{…})
//
// Format writes some ten blocks, whatever the size: a new file is zeroes, which
// is what inode tables and the bitmaps of groups not yet used are. There is no
// journal, no copy of the superblock and no lost+found: what is left of such a file
// system after a crash is thrown away.
//
// The kernel needs no more than Linux 3.16 has (sparse_super2). The format is
// that of filesystems/ext4/ in the kernel's documentation; e2fsck(8) finds nothing to
// mend, which the tests ask it.
//
// What it does not do: it reads no file system and changes none. What Format has made
// is mounted by package isolate, and written by the kernel alone.
package ext4
