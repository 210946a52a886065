package rootfs

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// zipMagic is the head of a zip's first entry. A zip with a program in front, or
// one of no entries, begins otherwise and is none for us.
const zipMagic = "PK\x03\x04"

// magics are the beginnings of what is sent in place of an archive.
var magics = []struct{ bytes, what string }{
	{zipMagic, "a zip archive inside of another compression: send it as it is"},
	{"PK\x05\x06", "an empty zip archive: it must hold the files of the app"},
	{"\x1f\x8b", "compressed twice: compress the tar once"},
	{"BZh", "compressed with bzip2: compress it with gzip, xz or zstd"},
	{"7z\xbc\xaf", "a 7z archive: pack it with \"tar -czf\""},
	{"!<arch>", "an ar archive or a Debian package: pack it with \"tar -czf\""},
	{"\x7fELF", "a program: pack it with \"tar -czf\""},
	{"{", "JSON text: check that the URL is the archive's own"},
}

// sniff looks at the first bytes of what is to be a tar, so that the error for
// what is none can say what it is. The Content-Type is of no use: servers disagree
// on the right one.
func sniff(r *bufio.Reader, how Compression) error {
	head, err := r.Peek(512)
	switch {
	case len(head) == 512 && isTar(head):
		return nil
	case err != nil && err != io.EOF:
		return err
	case len(head) == 0:
		return errors.New("the archive is empty: it must hold the files of the app")
	}
	what := whatIs(head)
	if how != Uncompressed {
		return fmt.Errorf("not a tar or zip archive: inside of the %s it is %s", how, what)
	}
	return fmt.Errorf("not a tar or zip archive: it is %s", what)
}

// isTar tells whether a block is a header of a tar, by its checksum, which even
// the oldest have, or the end of an empty one.
func isTar(block []byte) bool {
	var signed, unsigned int64
	for n, b := range block {
		if n >= 148 && n < 156 {
			b = ' '
		}
		unsigned += int64(b)
		signed += int64(int8(b)) // as some old ones have it
	}
	if unsigned == 8*' ' {
		return true
	}
	sum, err := strconv.ParseInt(string(bytes.Trim(block[148:156], " \x00")), 8, 64)
	return err == nil && (sum == unsigned || sum == signed)
}

// whatIs guesses what begins with head.
func whatIs(head []byte) string {
	for _, m := range magics {
		if bytes.HasPrefix(head, []byte(m.bytes)) {
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
