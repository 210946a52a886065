package outbox

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"time"
)

// version is of the files. A reader refuses one that it does not know.
const version = 1

// maxLine bounds a line that is read: what is longer was not written by us.
const maxLine = 256 << 10

// The kinds of lines. A file begins with a box; what becomes of an event comes
// after it.
const (
	kindBox   = "box"   // the file's version, its proc and who is told
	kindEvent = "event" // something to tell
	kindTry   = "try"   // the event was sent and not taken
	kindTold  = "told"  // the event was taken
	kindDead  = "dead"  // the event was given up
	kindGone  = "gone"  // the receiver wants nothing more: all that wait are given up
	kindAgain = "again" // somebody wants the event to be sent again
	kindDrop  = "drop"  // the event was removed
	kindLast  = "last"  // the last event that there was, in a file that was written anew
)

// A line is one change of a box. Which fields it has follows from its kind.
type line struct {
	Kind     string    `json:"kind"`
	Version  int       `json:"version,omitempty"`
	Proc     string    `json:"proc,omitempty"`
	Target   *Target   `json:"target,omitempty"`
	Event    *Event    `json:"event,omitempty"`
	Seq      uint64    `json:"seq,omitempty"` // of the event that the line is about
	At       time.Time `json:"at,omitzero"`
	Next     time.Time `json:"next,omitzero"` // when it is tried again
	Attempts int       `json:"attempts,omitempty"`
	Error    string    `json:"error,omitempty"`
}

// castagnoli is the polynomial of CRC-32C (RFC 3720, section 12.1).
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// sumLen is the length of a line's checksum in hexadecimal, with its space.
const sumLen = 9

// encode writes lines as they are on disk.
func encode(lines ...line) ([]byte, error) {
	var b bytes.Buffer
	for _, l := range lines {
		l.At, l.Next = l.At.UTC(), l.Next.UTC()
		text, err := json.Marshal(l)
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(&b, "%08x %s\n", crc32.Checksum(text, castagnoli), text)
	}
	return b.Bytes(), nil
}

// decode reads lines. Damage says of each line that cannot be used what is wrong
// with it. Torn tells that the last line has no end, as after a crash; it is
// left out.
func decode(b []byte) (lines []line, damage []error, torn bool) {
	for n := 1; len(b) > 0; n++ {
		text, rest, whole := bytes.Cut(b, []byte("\n"))
		if !whole {
			return lines, damage, true
		}
		b = rest
		l, err := decodeLine(text)
		if err != nil {
			damage = append(damage, fmt.Errorf("line %d: %w", n, err))
			continue
		}
		lines = append(lines, l)
	}
	return lines, damage, false
}

func decodeLine(text []byte) (l line, err error) {
	if len(text) <= sumLen || len(text) > maxLine {
		return l, fmt.Errorf("has %d bytes", len(text))
	}
	sum, payload := text[:sumLen], text[sumLen:]
	if want := fmt.Sprintf("%08x ", crc32.Checksum(payload, castagnoli)); string(sum) != want {
		return l, fmt.Errorf("checksum is %q and not %q", sum, want)
	}
	if err := json.Unmarshal(payload, &l); err != nil {
		return l, err
	}
	return l, l.check()
}

// check tells whether the line says what its kind must.
func (l line) check() error {
	switch l.Kind {
	case kindBox:
		switch {
		case l.Version != version:
			return fmt.Errorf("version %d; this hypervisor knows %d", l.Version, version)
		case l.Proc == "" || l.Target == nil || l.Target.URL == "":
			return errors.New("a box without its proc or its target")
		case l.Target.Secret != "" && l.Target.Secret.key() == nil:
			return errors.New("a box whose secret is none")
		}
	case kindEvent:
		if l.Event == nil || l.Event.Seq == 0 {
			return errors.New("an event without its number")
		}
	case kindTry, kindTold, kindDead, kindAgain, kindDrop, kindLast:
		if l.Seq == 0 {
			return errors.New("a " + l.Kind + " without a number")
		}
	case kindGone:
	default:
		return fmt.Errorf("no such kind as %q", l.Kind)
	}
	return nil
}
