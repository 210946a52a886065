package testbed

import (
	"embed"
	"os"
	"path/filepath"
	"testing"
)

// images are small ones of each type of a read-only file system, which mksquashfs and
// mkfs.erofs have made of the same folder:
//
//	run           root's, 0755: a shell script that prints message
//	message       root's, "out of an image"
//	link          to /etc/passwd
//	fifo          root's, 0666
//	null          a device, 1:3
//	data/private  of 1000:1000, 0600, "of 1000"
//
//	mksquashfs src app.squashfs -reproducible -mkfs-time 0 -all-time 0 -comp zstd
//	mkfs.erofs -zlz4hc -T0 -U 00000000-0000-0000-0000-000000000000 app.erofs src
//
//go:embed testdata/app.squashfs testdata/app.erofs
var images embed.FS

// Image is a file with a small image of a type of a read-only file system.
func Image(tb testing.TB, kind string) string {
	tb.Helper()
	b, err := images.ReadFile("testdata/app." + kind)
	if err != nil {
		tb.Fatal(err)
	}
	path := filepath.Join(tb.TempDir(), "app."+kind)
	if err := os.WriteFile(path, b, 0o600); err != nil {
		tb.Fatal(err)
	}
	return path
}
