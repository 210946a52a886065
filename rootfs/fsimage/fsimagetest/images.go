package fsimagetest

import (
	"embed"
	"os"
	"path/filepath"
	"testing"
)

//go:embed testdata/app.squashfs testdata/app.erofs
var images embed.FS

// Image is the image of a type.
func Image(tb testing.TB, kind string) []byte {
	tb.Helper()
	b, err := images.ReadFile("testdata/app." + kind)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// File is a file with the image of a type, the test's own.
func File(tb testing.TB, kind string) string {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "app."+kind)
	if err := os.WriteFile(path, Image(tb, kind), 0o600); err != nil {
		tb.Fatal(err)
	}
	return path
}
