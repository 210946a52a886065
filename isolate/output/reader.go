package output

import (
	"encoding/binary"
	"io"
)

// A Cursor is a place in a log: between two records. The zero Cursor is its
// beginning, the oldest that is still there.
type Cursor struct {
	Generation uint64 `json:"generation"`
	Offset     int64  `json:"offset"`
	Position   uint64 `json:"position"` // bytes of output before it
}

// A Reader reads a log while it is being written. It is for one goroutine.
type Reader struct {
	files [2]io.ReaderAt
	at    Cursor
}

// NewReader reads on from a cursor.
func NewReader(files [2]io.ReaderAt, at Cursor) *Reader { return &Reader{files, at} }

// Cursor is where the reader is.
func (r *Reader) Cursor() Cursor { return r.at }

// Written is how many bytes of output there were until now, with those that are
// no longer there: where the log ends.
func (r *Reader) Written() uint64 {
	newest := Header{}
	for i := range uint64(2) {
		if h, ok := r.header(i); ok && h.Generation > newest.Generation {
			newest = h
		}
	}
	return newest.Written
}

// An Entry is one record with what belongs to it.
type Entry struct {
	Kind Kind
	At   Cursor // where it begins
	Time int64  // of the real-time clock, in nanoseconds since 1970
	Data []byte // of the caller's until the next call
	Lost uint64 // bytes that were not kept: Data is empty
}

// Next returns the next entry, or io.EOF when there is none yet. An entry of kind
// 0 tells how much was overwritten before it could be read. buf has MaxRecord
// bytes and is what Data lies in.
func (r *Reader) Next(buf []byte) (Entry, error) {
	for {
		h, ok := r.header(r.at.Generation)
		if !ok || h.Generation != r.at.Generation {
			if h, ok = r.oldest(); !ok {
				return Entry{}, io.EOF
			}
			at := r.at
			if lost := r.jump(h); lost > 0 {
				return Entry{At: at, Lost: lost}, nil
			}
			continue
		}
		if r.at.Offset >= h.End {
			next, ok := r.next()
			if !ok {
				return Entry{}, io.EOF
			}
			// What was written before the next one began is there by now.
			if h, ok = r.header(r.at.Generation); !ok || h.Generation != r.at.Generation {
				continue
			}
			if r.at.Offset >= h.End {
				r.at = Cursor{next.Generation, HeaderSize, next.Before}
				continue
			}
		}
		e, size, err := r.entry(h, buf)
		// It may have been emptied while it was read.
		if again, ok := r.header(r.at.Generation); !ok || again.Generation != r.at.Generation {
			continue
		}
		if err != nil {
			// Not written by us, or the machine lost power: the rest of it is lost.
			next, ok := r.next()
			if !ok {
				return Entry{}, io.EOF
			}
			at := r.at
			if lost := r.jump(next); lost > 0 {
				return Entry{At: at, Lost: lost}, nil
			}
			continue
		}
		e.At = r.at
		r.at.Offset += size
		r.at.Position += e.Lost + uint64(len(e.Data))
		return e, nil
	}
}

// jump goes to the beginning of a generation and returns how much was lost on the
// way.
func (r *Reader) jump(h Header) (lost uint64) {
	if r.at.Generation > 0 && h.Before > r.at.Position {
		lost = h.Before - r.at.Position
	}
	r.at = Cursor{h.Generation, HeaderSize, h.Before}
	return lost
}

// entry reads the record at the cursor.
func (r *Reader) entry(h Header, buf []byte) (Entry, int64, error) {
	f := r.files[r.at.Generation%2]
	var b [RecordSize]byte
	if _, err := f.ReadAt(b[:], r.at.Offset); err != nil {
		return Entry{}, 0, io.EOF
	}
	record, ok := DecodeRecord(b[:])
	if !ok || r.at.Offset+RecordSize+int64(record.Size) > h.End {
		return Entry{}, 0, io.EOF
	}
	data := buf[:record.Size]
	if _, err := f.ReadAt(data, r.at.Offset+RecordSize); err != nil {
		return Entry{}, 0, io.EOF
	}
	e := Entry{Kind: record.Kind, Time: record.Time, Data: data}
	if record.dropped() {
		e.Lost, e.Data = binary.LittleEndian.Uint64(data), nil
	}
	return e, RecordSize + int64(record.Size), nil
}

func (r *Reader) header(generation uint64) (Header, bool) {
	var b [HeaderSize]byte
	if _, err := r.files[generation%2].ReadAt(b[:], 0); err != nil {
		return Header{}, false
	}
	h, ok := DecodeHeader(b[:])
	return h, ok && h.Generation%2 == generation%2
}

// next is the header of the generation after the cursor's, if it has begun.
func (r *Reader) next() (Header, bool) {
	h, ok := r.header(r.at.Generation + 1)
	return h, ok && h.Generation == r.at.Generation+1
}

// oldest is the header of the oldest segment that is there.
func (r *Reader) oldest() (Header, bool) {
	a, okA := r.header(0)
	b, okB := r.header(1)
	if !okA || okB && b.Generation < a.Generation {
		return b, okB
	}
	return a, okA
}
