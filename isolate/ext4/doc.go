// Package ext4 makes small ext4 file systems, each in a file: the writable layers of
// sandboxes, which nobody keeps, and volumes, which somebody does. Their number of
// bytes and of inodes is what the kernel lets a sandbox use.
//
//	shape, err := ext4.NewShape(1<<30, 65536) // pure
//	f, err := os.Create(path)
//	err = ext4.Format(f, shape, ext4.Identity{…})
//
// Format writes some ten blocks, whatever the size: a new file is zeroes, which
// is what inode tables and the bitmaps of groups not yet used are. There is no copy of
// the superblock and no lost+found. What is left of a layer after a crash is thrown
// away, so it has no journal; a [NewKeptShape] has one, and the kernel finds whole
// what it mounts after a crash.
//
// The kernel needs no more than Linux 3.16 has (sparse_super2). The format is
// that of filesystems/ext4/ in the kernel's documentation; e2fsck(8) finds nothing to
// mend, which the tests ask it.
//
// What it does not do: it reads no file system and changes none. What Format has made
// is mounted by package isolate, and written by the kernel alone.
package ext4
