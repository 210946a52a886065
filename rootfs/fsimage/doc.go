// Package fsimage tells images of the read-only file systems squashfs and erofs from
// other files, and whole ones from what cannot be one.
//
//	img, is, err := fsimage.Read(head) // the first HeadSize bytes of a file
//	if is && err == nil && img.Bytes > size { … } // it is cut off
//
// It reads the superblock (Documentation/filesystems/squashfs.rst and erofs.rst of
// the kernel), and nothing but that.
//
// What it does not protect against: everything behind the superblock is read by the
// kernel, and by nobody before it. An image whose superblock is right can be made to
// find faults of the kernel's.
package fsimage
