package rootfs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"time"

	"github.com/gilliam/hypervisor/rootfs/oci"
)

// A layerBody is a layer's blob while it comes from a registry, through
// interruptions: it goes on where it was if the registry sends parts. That those
// are of the same bytes need not be promised, for the whole is held to its digest.
// It notices when nothing comes. Its clock runs only while it reads, so that a slow
// disk is not taken for a slow registry.
type layerBody struct {
	i     *Images
	ctx   context.Context
	from  oci.Blobs
	layer oci.Layer

	conn   io.ReadCloser // nil between two
	cctx   context.Context
	cancel context.CancelCauseFunc // of cctx, which is conn's
	at     int64                   // how much has come
	failed int                     // times it broke since something came
}

// open asks for the blob, or for the rest of it. When the registry is silent, its
// error says so.
func (b *layerBody) open() error {
	ctx, cancel := context.WithCancelCause(b.ctx)
	stalled := time.AfterFunc(b.i.stall, func() { cancel(b.i.silence(b.at)) })
	defer stalled.Stop()
	var conn io.ReadCloser
	var err error
	if b.at == 0 {
		conn, err = b.from.Blob(ctx, b.layer.Digest)
	} else {
		conn, err = oci.BlobFrom(ctx, b.from, b.layer, b.at)
	}
	if err != nil {
		err = cmpCause(ctx, fromRegistry(err))
		cancel(nil)
		return err
	}
	b.conn, b.cctx, b.cancel = conn, ctx, cancel
	return nil
}

func (b *layerBody) Read(p []byte) (int, error) {
	for {
		n, err := b.read(p)
		b.at += int64(n)
		if n > 0 {
			b.failed = 0
		}
		if err == nil || err == io.EOF {
			return n, err
		}
		if !b.resume(err) {
			return n, err
		}
		if n > 0 {
			return n, nil
		}
	}
}

// read reads from the connection that there is, as long as something comes.
func (b *layerBody) read(p []byte) (int, error) {
	stalled := time.AfterFunc(b.i.stall, func() { b.cancel(b.i.silence(b.at)) })
	n, err := b.conn.Read(p)
	stalled.Stop()
	if err != nil && err != io.EOF {
		err = cmpCause(b.cctx, err)
	}
	return n, err
}

// resume goes on after an error that may pass, if that is possible.
func (b *layerBody) resume(err error) bool {
	for b.at > 0 && b.at < b.layer.Size && b.ctx.Err() == nil {
		var passing *unreachableError
		b.failed++
		if !errors.As(reached(err), &passing) || b.failed >= b.i.retry.tries {
			return false
		}
		b.i.cfg.Log.Info("transfer of a layer goes on", "layer", b.layer.Digest, "at", b.at, "err", err)
		_ = b.Close()
		if sleep(b.ctx, b.i.retry.pause(b.failed, rand.Float64())) != nil {
			return false
		}
		again := b.open()
		if again == nil {
			return true
		}
		err = again
	}
	return false
}

// Close ends the transfer. It can be called again.
func (b *layerBody) Close() error {
	b.cancel(nil)
	return b.conn.Close()
}

// cmpCause is what ended the context, if something has, else err.
func cmpCause(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

func (i *Images) silence(after int64) error {
	return &unreachableError{fmt.Errorf("no data for %v: the registry has stalled after %s", i.stall, size(after))}
}
