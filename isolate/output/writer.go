package output

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// Limits bound a log.
type Limits struct {
	Segment int64 // most bytes of each of the two segments
	Rate    int64 // most bytes of output a second, in bursts of as much; 0 is no limit
}

// A Writer moves a program's output from its pipes to the segments. It is for
// one goroutine.
type Writer struct {
	files  [2]int
	limits Limits
	null   int // the null device, for what is dropped

	header  Header
	dropped [2]uint64
	tokens  int64 // bytes that the rate allows now
	filled  int64 // when tokens were counted last, in nanoseconds of the monotonic clock
}

// NewWriter goes on where the segments, empty files at first, end. A record that
// a killed writer left half-way is completed with what was moved of it. It keeps
// the three descriptors and closes none.
func NewWriter(files [2]int, limits Limits, null int) (*Writer, error) {
	limits.Segment = max(limits.Segment, MinSegment)
	w := &Writer{files: files, limits: limits, null: null, tokens: limits.Rate}
	w.filled = now(unix.CLOCK_MONOTONIC)
	newest := Header{}
	for _, f := range files {
		var b [HeaderSize]byte
		if n, err := pread(f, b[:], 0); err != nil {
			return nil, err
		} else if h, ok := DecodeHeader(b[:n]); ok && h.Generation > newest.Generation && w.files[h.Generation%2] == f {
			newest = h
		}
	}
	if newest.Generation == 0 {
		return w, w.begin(1)
	}
	w.header = newest
	return w, w.recover()
}

// begin empties the segment of a generation and writes its header.
func (w *Writer) begin(generation uint64) error {
	f := w.files[generation%2]
	if err := ignoringEINTR(func() error { return unix.Ftruncate(f, 0) }); err != nil {
		return err
	}
	h := Header{Generation: generation, End: HeaderSize, Before: w.header.Written, Written: w.header.Written}
	if err := w.writeHeader(h); err != nil {
		return err
	}
	w.header = h
	return nil
}

func (w *Writer) writeHeader(h Header) error {
	var b [HeaderSize]byte
	h.Encode(b[:])
	return pwrite(w.files[h.Generation%2], b[:], 0)
}

// recover goes on where the newest segment ends, and commits to a record behind
// that: one whose writer was killed in it.
func (w *Writer) recover() error {
	f := w.files[w.header.Generation%2]
	size, err := unix.Seek(f, 0, unix.SEEK_END)
	if err != nil {
		return err
	}
	if w.header.End > size { // the machine lost power between the two
		w.recount(f, size)
		if err := w.writeHeader(w.header); err != nil {
			return err
		}
	}
	r, ok := w.recordAt(f, w.header.End)
	moved := min(int64(r.Size), size-w.header.End-RecordSize)
	if !ok || r.dropped() || moved <= 0 {
		return nil
	}
	r.Size = int(moved)
	if err := w.writeRecord(r); err != nil {
		return err
	}
	return w.commit(r.Size, uint64(r.Size))
}

// recount makes the header say what there is in a segment of size bytes.
func (w *Writer) recount(f int, size int64) {
	w.header.End, w.header.Written = HeaderSize, w.header.Before
	for {
		r, ok := w.recordAt(f, w.header.End)
		end := w.header.End + RecordSize + int64(r.Size)
		if !ok || end > size {
			return
		}
		w.header.Written += w.count(f, w.header.End, r)
		w.header.End = end
	}
}

func (w *Writer) recordAt(f int, pos int64) (Record, bool) {
	var b [RecordSize]byte
	n, err := pread(f, b[:], pos)
	if err != nil {
		return Record{}, false
	}
	return DecodeRecord(b[:n])
}

// count is how many bytes of output a record stands for.
func (w *Writer) count(f int, pos int64, r Record) uint64 {
	if !r.dropped() {
		return uint64(r.Size)
	}
	var b [8]byte
	if n, err := pread(f, b[:], pos+RecordSize); err != nil || n < len(b) {
		return 0
	}
	return binary.LittleEndian.Uint64(b[:])
}

// Pump moves what is in the pipe now, at most [MaxRecord] bytes, and tells
// whether there was anything. What the rate or the disk does not allow is
// dropped and counted; a program is never held up.
func (w *Writer) Pump(kind Kind, pipe int) bool {
	n, err := unix.IoctlGetInt(pipe, unix.TIOCINQ) // FIONREAD (pipe(7))
	if err != nil || n <= 0 {
		return false
	}
	n = min(n, MaxRecord)
	if !w.allow(int64(n)) || w.move(kind, pipe, n) != nil {
		w.drop(kind, pipe, n)
	}
	return true
}

// allow takes n bytes from what the rate allows (a token bucket).
func (w *Writer) allow(n int64) bool {
	if w.limits.Rate <= 0 {
		return true
	}
	t := now(unix.CLOCK_MONOTONIC)
	elapsed := min(t-w.filled, 1e9)
	w.tokens = min(w.tokens+elapsed*w.limits.Rate/1e9, max(w.limits.Rate, MaxRecord))
	w.filled = t
	if w.tokens < n {
		return false
	}
	w.tokens -= n
	return true
}

// move moves n bytes, which are in the pipe.
func (w *Writer) move(kind Kind, pipe, n int) error {
	if err := w.tellDropped(); err != nil {
		return err
	}
	if err := w.room(n); err != nil {
		return err
	}
	r := Record{Kind: kind, Size: n, Time: now(unix.CLOCK_REALTIME)}
	if err := w.writeRecord(r); err != nil {
		return err
	}
	moved, err := splice(pipe, w.files[w.header.Generation%2], w.header.End+RecordSize, n)
	if moved == 0 {
		return err
	}
	if moved < n {
		r.Size = moved
		if err := w.writeRecord(r); err != nil {
			return nil // the next writer finds it: it has left the pipe
		}
	}
	_ = w.commit(moved, uint64(moved))
	return nil
}

// room makes sure that a record of n bytes fits into the segment.
func (w *Writer) room(n int) error {
	if w.header.End+RecordSize+int64(n) <= w.limits.Segment || w.header.End == HeaderSize {
		return nil
	}
	return w.begin(w.header.Generation + 1)
}

// writeRecord writes a record behind the end, committing to nothing.
func (w *Writer) writeRecord(r Record) error {
	var b [RecordSize]byte
	r.Encode(b[:])
	return pwrite(w.files[w.header.Generation%2], b[:], w.header.End)
}

// commit moves the end behind a record of size bytes that stands for output.
func (w *Writer) commit(size int, output uint64) error {
	w.header.End += RecordSize + int64(size)
	w.header.Written += output
	return w.writeHeader(w.header)
}

// drop takes n bytes out of the pipe and counts them.
func (w *Writer) drop(kind Kind, pipe, n int) {
	for n > 0 {
		moved, err := splice(pipe, w.null, -1, n)
		if err != nil || moved == 0 {
			return
		}
		w.dropped[kind-Stdout] += uint64(moved)
		n -= moved
	}
}

// Owes tells whether something was dropped that is not told yet; [Writer.Tell]
// does that, and [Writer.Pump] before it moves anything.
func (w *Writer) Owes() bool { return w.dropped != [2]uint64{} }

// Tell writes how much was dropped, if the disk allows.
func (w *Writer) Tell() { _ = w.tellDropped() }

// tellDropped writes how much was dropped since it was told last.
func (w *Writer) tellDropped() error {
	for i, n := range w.dropped {
		if n == 0 {
			continue
		}
		if err := w.room(8); err != nil {
			return err
		}
		r := Record{Kind: StdoutDropped + Kind(i), Size: 8, Time: now(unix.CLOCK_REALTIME)}
		b := make([]byte, RecordSize+8)
		r.Encode(b)
		binary.LittleEndian.PutUint64(b[RecordSize:], n)
		if err := pwrite(w.files[w.header.Generation%2], b, w.header.End); err != nil {
			return err
		}
		w.dropped[i] = 0
		if err := w.commit(8, n); err != nil {
			return err
		}
	}
	return nil
}

// Drain moves all that is left in the pipes of stdout and stderr and tells what
// was dropped. It is for when nobody writes to them any more.
func (w *Writer) Drain(pipes [2]int) {
	for i, pipe := range pipes {
		for w.Pump(Stdout+Kind(i), pipe) {
		}
	}
	w.Tell()
}
