package rootfs

import (
	"crypto/sha256"
	"hash"
)

// A sum is the SHA-256 of one file, which is known when its hasher is closed.
type sum = [sha256.Size]byte

// A hasher takes the SHA-256 of one file after the other, beside the writing of
// them: both take about as long, and neither needs the other. What is hashed is in
// its buffers, which it lends to one goroutine.
//
//	b := h.buffer()
//	n := … // read into b
//	h.add(n)
//	… // write b[:n]: nobody else gets it before the next buffer
//	sum := h.end()
type hasher struct {
	todo  chan piece
	free  chan []byte // nil is one that is yet to be made
	done  chan struct{}
	lent  []byte // nil when it is not here
	here  hash.Hash
	small bool // the file is hashed here
}

// A piece is what a file goes on with or, with a sum, its end.
type piece struct {
	b   []byte
	sum *sum
}

// handOver is how large a file must be to be hashed elsewhere: for less, to wake
// another goroutine takes longer than to hash.
const handOver = 32 << 10

func newHasher() *hasher {
	h := &hasher{todo: make(chan piece, 2*chunks), free: make(chan []byte, chunks), done: make(chan struct{}), here: sha256.New()}
	for range chunks {
		h.free <- nil
	}
	// Owned by h: ends with close, which waits for it.
	go h.run()
	return h
}

func (h *hasher) run() {
	defer close(h.done)
	now := sha256.New()
	for p := range h.todo {
		if p.sum != nil {
			now.Sum(p.sum[:0])
			now.Reset()
			continue
		}
		now.Write(p.b)
		h.free <- p.b[:cap(p.b)]
	}
}

// begin is for a file of about this size.
func (h *hasher) begin(size int64) {
	h.small = size < handOver
	h.here.Reset()
}

// buffer waits until there is one. It is the same one until something is added.
func (h *hasher) buffer() []byte {
	if h.lent == nil {
		if h.lent = <-h.free; h.lent == nil {
			h.lent = make([]byte, chunkSize)
		}
	}
	return h.lent
}

// add adds the first n bytes of the buffer to the file.
func (h *hasher) add(n int) {
	if h.small {
		h.here.Write(h.lent[:n])
		return
	}
	h.todo <- piece{b: h.lent[:n]}
	h.lent = nil
}

// end is the end of the file.
func (h *hasher) end() *sum {
	s := new(sum)
	if h.small {
		h.here.Sum(s[:0])
	} else {
		h.todo <- piece{sum: s}
	}
	return s
}

// close waits for all sums.
func (h *hasher) close() {
	close(h.todo)
	<-h.done
}
