package rootfs

import (
	"archive/tar"
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"
)

// An archive is built entry by entry, right or wrong.
type archive struct {
	t   testing.TB
	buf bytes.Buffer
	tw  *tar.Writer
}

var someTime = time.Date(2013, 5, 1, 12, 0, 0, 0, time.UTC)

func newArchive(t testing.TB) *archive {
	a := &archive{t: t}
	a.tw = tar.NewWriter(&a.buf)
	return a
}

func (a *archive) add(h tar.Header, body string) {
	a.t.Helper()
	if h.ModTime.IsZero() {
		h.ModTime = someTime
	}
	h.Size = int64(len(body))
	if err := a.tw.WriteHeader(&h); err != nil {
		a.t.Fatalf("header %q: %v", h.Name, err)
	}
	if _, err := a.tw.Write([]byte(body)); err != nil {
		a.t.Fatal(err)
	}
}

func (a *archive) file(name, body string) {
	a.t.Helper()
	a.add(tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644}, body)
}
func (a *archive) mode(name string, mode int64) {
	a.t.Helper()
	a.add(tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: mode}, "x")
}
func (a *archive) dir(name string) {
	a.t.Helper()
	a.add(tar.Header{Name: name, Typeflag: tar.TypeDir, Mode: 0o700}, "")
}
func (a *archive) sym(name, to string) {
	a.t.Helper()
	a.add(tar.Header{Name: name, Linkname: to, Typeflag: tar.TypeSymlink}, "")
}
func (a *archive) hard(name, to string) {
	a.t.Helper()
	a.add(tar.Header{Name: name, Linkname: to, Typeflag: tar.TypeLink}, "")
}
func (a *archive) special(name string, flag byte) {
	a.t.Helper()
	a.add(tar.Header{Name: name, Typeflag: flag, Mode: 0o666, Devmajor: 1, Devminor: 3}, "")
}

// raw adds a header as it is, padded, with its checksum, and a body.
func (a *archive) raw(h [512]byte, body string) {
	a.t.Helper()
	if err := a.tw.Flush(); err != nil {
		a.t.Fatal(err)
	}
	copy(h[148:], "        ")
	sum := 0
	for _, b := range h {
		sum += int(b)
	}
	copy(h[148:], fmt.Sprintf("%06o\x00 ", sum))
	a.buf.Write(h[:])
	a.buf.WriteString(body)
	a.buf.Write(make([]byte, (512-len(body)%512)%512))
}

// ustar is a header for raw.
func ustar(name string, flag byte, size int64) (h [512]byte) {
	copy(h[0:100], name)
	copy(h[100:], "0000644\x00")
	copy(h[108:], "0000000\x00")
	copy(h[116:], "0000000\x00")
	copy(h[124:], fmt.Sprintf("%011o\x00", size))
	copy(h[136:], "00000000000\x00")
	h[156] = flag
	copy(h[257:], "ustar\x0000")
	return h
}

// gnuSparse is an old GNU sparse header: a file of that length, all hole.
func gnuSparse(name string, length int64) (h [512]byte) {
	h = ustar(name, 'S', 0)
	copy(h[257:], "ustar  \x00")
	h[483] = 0x80 // base-256
	for n := 0; n < 8; n++ {
		h[494-n] = byte(length >> (8 * n))
	}
	return h
}

// paxRecords is the body of a pax header.
func paxRecords(kv ...string) string {
	var b strings.Builder
	for i := 0; i < len(kv); i += 2 {
		rest := " " + kv[i] + "=" + kv[i+1] + "\n"
		n := len(rest) + 1
		for len(fmt.Sprint(n))+len(rest) != n {
			n++
		}
		fmt.Fprintf(&b, "%d%s", n, rest)
	}
	return b.String()
}

func (a *archive) tar() []byte {
	a.t.Helper()
	if err := a.tw.Close(); err != nil {
		a.t.Fatal(err)
	}
	return a.buf.Bytes()
}

func (a *archive) gz() []byte { return gzipped(a.t, a.tar()) }

// sampleImage is a small good image.
func sampleImage(t testing.TB) []byte {
	a := newArchive(t)
	a.dir("./")
	a.file("run", "#!/bin/sh\necho hello\n")
	a.mode("bin/tool", 0o755)
	a.sym("current", "bin/tool")
	return a.gz()
}
