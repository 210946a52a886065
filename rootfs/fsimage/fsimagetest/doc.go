// Package fsimagetest has a small image of each type of a read-only file system, for
// tests on whatever machine, without the tools that have made them.
//
//	path := fsimagetest.File(t, "squashfs")
//
// Both are of the same folder:
//
//	run           root's, 0755: a shell script that prints message
//	message       root's, "out of an image"
//	link          to /etc/passwd
//	fifo          root's, 0666
//	null          a device, 1:3
//	data/private  of 1000:1000, 0600, "of 1000"
//
// and made by squashfs-tools 4.5 and erofs-utils 1.5:
//
//	mksquashfs src app.squashfs -reproducible -mkfs-time 0 -all-time 0 -comp zstd
//	mkfs.erofs -zlz4hc -T0 -U 00000000-0000-0000-0000-000000000000 app.erofs src
package fsimagetest
