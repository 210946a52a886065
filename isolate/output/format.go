package output

import "encoding/binary"

// Kind is what a record is.
type Kind byte

// The kinds of records. What was dropped is told in place of it: how many bytes,
// as a little-endian uint64.
const (
	Stdout        Kind = 1
	Stderr        Kind = 2
	StdoutDropped Kind = 3
	StderrDropped Kind = 4
)

// Sizes of the format, in bytes.
const (
	HeaderSize = 40
	RecordSize = 16

	// MaxRecord is the most that one record holds.
	MaxRecord = 64 << 10

	// MinSegment is the smallest limit of a segment.
	MinSegment = 4 * MaxRecord
)

// magic opens a segment; its last byte is the format's version.
const magic = "gilliam\x01"

// A Header opens a segment.
type Header struct {
	Generation uint64 // of the segment: 1, 2, 3, …; it is in file Generation % 2
	End        int64  // where its last whole record ends
	Before     uint64 // bytes of output in the generations before, dropped ones too
	Written    uint64 // the same up to End
}

// Encode writes the header into b, which has HeaderSize bytes.
func (h Header) Encode(b []byte) {
	copy(b, magic)
	binary.LittleEndian.PutUint64(b[8:], h.Generation)
	binary.LittleEndian.PutUint64(b[16:], uint64(h.End))
	binary.LittleEndian.PutUint64(b[24:], h.Before)
	binary.LittleEndian.PutUint64(b[32:], h.Written)
}

// DecodeHeader reads what Encode wrote. It is false for anything else.
func DecodeHeader(b []byte) (Header, bool) {
	if len(b) < HeaderSize || string(b[:8]) != magic {
		return Header{}, false
	}
	h := Header{
		Generation: binary.LittleEndian.Uint64(b[8:]),
		End:        int64(binary.LittleEndian.Uint64(b[16:])),
		Before:     binary.LittleEndian.Uint64(b[24:]),
		Written:    binary.LittleEndian.Uint64(b[32:]),
	}
	return h, h.Generation > 0 && h.End >= HeaderSize && h.Before <= h.Written
}

// A Record comes before the bytes that it is about.
type Record struct {
	Kind Kind
	Size int   // of what follows, in bytes
	Time int64 // of the real-time clock, in nanoseconds since 1970
}

// Encode writes the record into b, which has RecordSize bytes.
func (r Record) Encode(b []byte) {
	binary.LittleEndian.PutUint32(b, uint32(r.Size))
	b[4], b[5], b[6], b[7] = byte(r.Kind), 0, 0, 0
	binary.LittleEndian.PutUint64(b[8:], uint64(r.Time))
}

// DecodeRecord reads what Encode wrote. It is false for anything else.
func DecodeRecord(b []byte) (Record, bool) {
	if len(b) < RecordSize {
		return Record{}, false
	}
	size := binary.LittleEndian.Uint32(b)
	r := Record{Kind: Kind(b[4]), Size: int(size), Time: int64(binary.LittleEndian.Uint64(b[8:]))}
	ok := size > 0 && size <= MaxRecord && b[5]|b[6]|b[7] == 0
	if r.dropped() {
		return r, ok && size == 8
	}
	return r, ok && (r.Kind == Stdout || r.Kind == Stderr)
}

func (r Record) dropped() bool { return r.Kind == StdoutDropped || r.Kind == StderrDropped }
