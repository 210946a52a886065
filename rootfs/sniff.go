package rootfs

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
)

// magics are the beginnings of what is sent in place of a gzip'd tar.
var magics = []struct {
	at    int
	bytes string
	what  string
}{
	{0, "PK\x03\x04", "a zip archive: pack it with \"tar -czf\""},
	{0, "\x28\xb5\x2f\xfd", "compressed with zstd: compress it with gzip"},
	{0, "\xfd7zXZ\x00", "compressed with xz: compress it with gzip"},
	{0, "BZh", "compressed with bzip2: compress it with gzip"},
	{0, "7z\xbc\xaf", "a 7z archive: pack it with \"tar -czf\""},
	{0, "!<arch>", "an ar archive or a Debian package: pack it with \"tar -czf\""},
	{0, "\x7fELF", "a program: pack it with \"tar -czf\""},
	{0, "{", "JSON text: check that the URL is the archive's own"},
	{257, "ustar", "a tar that is not compressed: pack it with \"tar -czf\""},
}

// sniff looks at the first bytes of a transfer, so that the error for what is no
// gzip'd tar can say what it is. The Content-Type is of no use: servers disagree
// on the right one.
func sniff(r *bufio.Reader) error {
	head, err := r.Peek(512)
	switch {
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		return nil
	case len(head) == 0 && err == io.EOF:
		return errors.New("empty: the server has sent nothing; check that the URL is right")
	case err != nil && err != io.EOF && !errors.Is(err, bufio.ErrBufferFull):
		return archiveError(err)
	}
	return fmt.Errorf("not a gzip'd tar: it is %s", whatIs(head))
}

// whatIs guesses what begins with head.
func whatIs(head []byte) string {
	for _, m := range magics {
		if len(head) > m.at && bytes.HasPrefix(head[m.at:], []byte(m.bytes)) {
			return m.what
		}
	}
	text := bytes.ToLower(bytes.TrimLeft(bytes.TrimPrefix(head, []byte("\ufeff")), " \t\r\n"))
	for _, p := range []string{"<!doctype", "<html", "<head", "<body", "<?xml", "<!--"} {
		if bytes.HasPrefix(text, []byte(p)) {
			return "a web page (HTML): check that the URL is the archive's own, and not a page that shows it or asks for a login"
		}
	}
	return "something else: pack it with \"tar -czf\""
}
