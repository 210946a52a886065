package archivetest

import (
	"archive/tar"
	"bytes"
	"fmt"
	"testing"
	"time"
)

// A Package is what a .deb is made of.
type Package struct {
	Control string            // the control file, beginning with Package
	Scripts map[string]string // preinst and the like, and other files of the control archive
	Files   []tar.Header      // of the data archive, in this order
	Data    map[string]string // content of the files, by the names in Files
}

// Made is when the files of packages were made.
var Made = time.Date(2023, 1, 2, 3, 4, 5, 0, time.UTC)

// Deb is the package's file, uncompressed.
func (p Package) Deb(tb testing.TB) []byte {
	tb.Helper()
	var ctl bytes.Buffer
	w := tar.NewWriter(&ctl)
	write(tb, w, tar.Header{Name: "./", Typeflag: tar.TypeDir, Mode: 0o755}, "")
	write(tb, w, tar.Header{Name: "./control", Mode: 0o644}, p.Control)
	for name, text := range p.Scripts {
		write(tb, w, tar.Header{Name: "./" + name, Mode: 0o755}, text)
	}
	finish(tb, w)
	var data bytes.Buffer
	w = tar.NewWriter(&data)
	for _, h := range p.Files {
		write(tb, w, h, p.Data[h.Name])
	}
	finish(tb, w)
	return Ar(map[string][]byte{"debian-binary": []byte("2.0\n"), "control.tar": ctl.Bytes(), "data.tar": data.Bytes()}, "debian-binary", "control.tar", "data.tar")
}

// Ar is an archive of the members, in this order.
func Ar(members map[string][]byte, order ...string) []byte {
	b := []byte("!<arch>\n")
	for _, name := range order {
		b = fmt.Appendf(b, "%-16s%-12d%-6d%-6d%-8s%-10d`\n", name, Made.Unix(), 0, 0, "100644", len(members[name]))
		if b = append(b, members[name]...); len(members[name])%2 == 1 {
			b = append(b, '\n')
		}
	}
	return b
}

func write(tb testing.TB, w *tar.Writer, h tar.Header, text string) {
	tb.Helper()
	if h.Typeflag == 0 {
		h.Typeflag = tar.TypeReg
	}
	if h.Typeflag == tar.TypeReg {
		h.Size = int64(len(text))
	}
	if h.ModTime.IsZero() {
		h.ModTime = Made
	}
	if err := w.WriteHeader(&h); err != nil {
		tb.Fatal(err)
	}
	if h.Size > 0 {
		if _, err := w.Write([]byte(text)); err != nil {
			tb.Fatal(err)
		}
	}
}

func finish(tb testing.TB, w *tar.Writer) {
	tb.Helper()
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
}
