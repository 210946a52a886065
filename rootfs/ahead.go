package rootfs

import (
	"io"

	"github.com/gilliam/hypervisor/isolate/safely"
)

// An ahead reads from r before it is asked. An archive is received and hashed by
// one, decompressed by another, while what came before is written.
type ahead struct {
	least       int
	abort       func() // makes r end
	full, empty chan chunk
	stop, done  chan struct{}
	now         chunk // what is given out
	at          int
}

// A chunk is a piece of a stream, and how that goes on.
type chunk struct {
	b   []byte
	n   int
	err error
}

const (
	chunks    = 4
	chunkSize = 256 << 10
)

// newAhead reads from r, which abort ends, and gives out pieces of at least so many
// bytes if there are.
func newAhead(r io.Reader, least int, abort func()) *ahead {
	a := &ahead{least: least, abort: abort, full: make(chan chunk, chunks), empty: make(chan chunk, chunks), stop: make(chan struct{}), done: make(chan struct{})}
	for range chunks {
		a.empty <- chunk{}
	}
	// Owned by a: ends with r, or with close, which waits for it.
	go a.run(r)
	return a
}

func (a *ahead) run(r io.Reader) {
	defer close(a.done)
	for {
		var c chunk
		select {
		case <-a.stop:
			return
		case c = <-a.empty:
		}
		if c.b == nil {
			c.b = make([]byte, chunkSize)
		}
		// What is decompressed comes from strangers: a panic is an error like others.
		c.err = safely.Do(func() (err error) {
			for err == nil && c.n < a.least {
				var k int
				k, err = r.Read(c.b[c.n:])
				c.n += k
			}
			return err
		})
		ended := c.err != nil
		a.full <- c
		if ended {
			return
		}
	}
}

func (a *ahead) Read(p []byte) (int, error) {
	for a.at == a.now.n {
		if a.now.err != nil {
			return 0, a.now.err
		}
		if a.now.b != nil {
			a.empty <- chunk{b: a.now.b}
		}
		a.now, a.at = <-a.full, 0
	}
	n := copy(p, a.now.b[a.at:a.now.n])
	a.at += n
	return n, nil
}

// close ends the reading ahead; r is nobody's any more when it returns.
func (a *ahead) close() {
	close(a.stop)
	if a.now.err == nil {
		a.abort() // it may be waiting for a server
	}
	<-a.done
}
