package manifest

import (
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// The types of files, as mtree(5) calls them.
const (
	File   = "file"
	Dir    = "dir"
	Link   = "link"
	FIFO   = "fifo"
	Socket = "socket"
	Char   = "char"
	Block  = "block"
)

// An Entry is one file of a tree.
type Entry struct {
	Path     string // below the top, as usr/bin/env; the top itself is "."
	Type     string // one of the constants
	Mode     uint32 // permissions, setuid, setgid and sticky: up to 07777
	UID, GID uint32

	Size   int64  // of a File
	SHA256 string // of a File, in hexadecimal
	Target string // of a Link
	Device uint64 // of a Char or a Block: its number (makedev(3))

	Xattrs map[string]string // values are bytes
}

// keywords are all of the entry but its path, in an order that is always the same.
func (e Entry) keywords() string {
	var b strings.Builder
	fmt.Fprintf(&b, "type=%s", e.Type)
	if e.Type != Link { // symlink(7): the mode of one says nothing
		fmt.Fprintf(&b, " mode=%04o", e.Mode)
	}
	fmt.Fprintf(&b, " uid=%d gid=%d", e.UID, e.GID)
	switch e.Type {
	case File:
		fmt.Fprintf(&b, " size=%d sha256=%s", e.Size, e.SHA256)
	case Link:
		fmt.Fprintf(&b, " link=%s", escape(e.Target))
	case Char, Block:
		fmt.Fprintf(&b, " device=%d", e.Device)
	}
	for _, name := range slices.Sorted(maps.Keys(e.Xattrs)) {
		fmt.Fprintf(&b, " xattr.%s=%s", escape(name), base64.StdEncoding.EncodeToString([]byte(e.Xattrs[name])))
	}
	return b.String()
}

// shown is a path as mtree(5) has it.
func shown(path string) string {
	if path == "." {
		return path
	}
	return "./" + escape(path)
}

func parsePath(s string) (string, error) {
	if s == "." {
		return s, nil
	}
	s, ok := strings.CutPrefix(s, "./")
	if !ok || s == "" {
		return "", errors.New("not a path")
	}
	return unescape(s)
}

// plain tells whether a byte stands for itself: not so blanks, what cannot be
// printed, and what has a meaning to mtree(5).
func plain(c byte) bool {
	return c > ' ' && c < 0x7f && c != '\\' && c != '#' && c != '='
}

// escape writes other bytes as a backslash and three octal digits (vis(3)).
func escape(s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		if plain(c) {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, `\%03o`, c)
		}
	}
	return b.String()
}

// unescape undoes escape, and takes nothing that escape does not write.
func unescape(s string) (string, error) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if plain(s[i]) {
			b.WriteByte(s[i])
			continue
		}
		if s[i] != '\\' || len(s)-i < 4 {
			return "", errors.New("not an escape")
		}
		n := 0
		for _, d := range []byte(s[i+1 : i+4]) {
			if d < '0' || d > '7' {
				return "", errors.New("not an octal digit")
			}
			n = n*8 + int(d-'0')
		}
		if n > 255 || plain(byte(n)) {
			return "", errors.New("not a byte that is escaped")
		}
		b.WriteByte(byte(n))
		i += 3
	}
	return b.String(), nil
}
