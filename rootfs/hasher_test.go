package rootfs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
)

// However large a file is, and wherever it is hashed, its sum is its own.
func TestUnpackSums(t *testing.T) {
	a := newArchive(t)
	for n, size := range []int{0, 1, 5000, handOver - 1, handOver, handOver + 1, chunkSize - 512, chunkSize, chunkSize + 1, 3*chunks*chunkSize + 3, 2, 3 * chunkSize} {
		name := fmt.Sprint(n)
		a.file(name, strings.Repeat(name+"abc", size)[:size])
		a.hard(name+".again", name)
	}
	a.file("9", "it was large")
	a.file("10", strings.Repeat("it was small", handOver))
	for how, compress := range compressors {
		ar := newArena(t)
		st, err := ar.unpack(bytes.NewReader(compress(t, a.tar())), UnpackLimits{})
		if err != nil {
			t.Errorf("%q: %v", how, err)
		}
		ar.noted(t, st, err)
	}
}

// A stalled sender has sent something and keeps one waiting for the rest.
type stalled struct {
	io.Reader
	ctx    context.Context
	cancel context.CancelFunc
}

func (s stalled) abort() { s.cancel() }

func (s stalled) Read(p []byte) (int, error) {
	n, err := s.Reader.Read(p)
	if err == io.EOF {
		<-s.ctx.Done()
		err = s.ctx.Err()
	}
	return n, err
}

// What is wrong already is said at once, and does not wait for the rest.
func TestUnpackWrongAndStalled(t *testing.T) {
	a := newArchive(t)
	a.file("good", strings.Repeat("x", 2*chunkSize))
	a.file("../bad", strings.Repeat("x", 2*chunkSize))
	for how, compress := range compressors {
		ctx, cancel := context.WithCancel(t.Context())
		ar := newArena(t)
		_, err := ar.unpack(stalled{bytes.NewReader(compress(t, a.tar())), ctx, cancel}, UnpackLimits{})
		if err == nil || !strings.Contains(err.Error(), "leads out of the archive") || errors.Is(err, context.Canceled) {
			t.Errorf("%q: %v", how, err)
		}
		ar.check(t)
		cancel()
	}
}
