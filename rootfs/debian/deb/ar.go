package deb

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// arMagic begins an archive of ar(5), arHeader is the size of a member's header.
const (
	arMagic  = "!<arch>\n"
	arHeader = 60
)

// A member is a file of an ar archive.
type member struct {
	name string
	body *io.SectionReader
}

// readAr lists the members of an archive of size bytes. Debian packages have three
// or a few, with short names.
func readAr(r io.ReaderAt, size int64) ([]member, error) {
	const most = 16
	head := make([]byte, arHeader)
	if _, err := r.ReadAt(head[:len(arMagic)], 0); err != nil || string(head[:len(arMagic)]) != arMagic {
		return nil, errors.New("not a Debian package: it is no ar archive")
	}
	var list []member
	for at := int64(len(arMagic)); at < size; {
		if _, err := r.ReadAt(head, at); err != nil {
			return nil, fmt.Errorf("header of member %d: %w", len(list), noEOF(err))
		}
		if string(head[58:]) != "`\n" || len(list) == most {
			return nil, fmt.Errorf("member %d: no header of an ar archive", len(list))
		}
		name := strings.TrimRight(string(head[:16]), " ")
		name = strings.TrimSuffix(name, "/")
		n, err := strconv.ParseInt(strings.TrimRight(string(head[48:58]), " "), 10, 64)
		at += arHeader
		if err != nil || n < 0 || n > size-at {
			return nil, fmt.Errorf("member %.20q: its size is wrong", name)
		}
		list = append(list, member{name, io.NewSectionReader(r, at, n)})
		at += n + n%2
	}
	return list, nil
}

// noEOF makes an end where something was to come an error.
func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
