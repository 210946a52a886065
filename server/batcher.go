package server

import (
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/gilliam/hypervisor/server/proc"
)

// batchSize is how many bytes of log lines are sent at once.
const batchSize = 32 << 10

// A batcher gathers log lines and sends them when there are many, or when the
// first has waited for long enough. One timer is its only company: it runs for
// as long as something waits, and close ends it.
type batcher struct {
	w     http.ResponseWriter
	ctl   *http.ResponseController
	after time.Duration // how long a line may wait
	limit time.Duration // how long a client may take for a batch

	mu    sync.Mutex
	buf   []byte
	open  string // the stream whose last line was partial
	timer *time.Timer
	err   error // of the first write that failed, or errBatcherClosed
}

var errBatcherClosed = errors.New("bug: log line after the end of the answer")

func newBatcher(w http.ResponseWriter, t timeouts) *batcher {
	return &batcher{w: w, ctl: http.NewResponseController(w), after: t.batch, limit: t.write}
}

// add takes one line.
func (b *batcher) add(l proc.LogLine, format lineFormat) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err != nil {
		return b.err
	}
	waiting := len(b.buf) > 0
	if b.buf, b.err = format(b.buf, l, b.open); b.err != nil {
		return b.err
	}
	b.open = ""
	if l.Partial {
		b.open = l.Stream
	}
	if len(b.buf) >= batchSize {
		b.send()
		return b.err
	}
	if !waiting {
		if b.timer == nil {
			b.timer = time.AfterFunc(b.after, b.flush)
		} else {
			b.timer.Reset(b.after)
		}
	}
	return nil
}

// flush sends what waits.
func (b *batcher) flush() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.send()
}

// send writes the buffer out. The caller holds b.mu.
func (b *batcher) send() {
	if b.err != nil {
		return
	}
	if err := b.ctl.SetWriteDeadline(time.Now().Add(b.limit)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		b.err = err
		return
	}
	if _, b.err = b.w.Write(b.buf); b.err == nil {
		b.err = b.ctl.Flush()
	}
	b.buf = b.buf[:0]
}

// close sends the rest. Nothing is written after it.
func (b *batcher) close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.timer != nil {
		b.timer.Stop()
	}
	b.send()
	err := b.err
	b.err = errBatcherClosed
	return err
}
