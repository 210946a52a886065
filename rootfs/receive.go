package rootfs

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"sync/atomic"
	"time"
)

// receive unpacks the image into root's folder tree while it arrives.
func (i *Images) receive(ctx context.Context, src source, root *os.Root) (st stats, err error) {
	ctx, stop := context.WithTimeoutCause(ctx, i.cfg.Timeout,
		fmt.Errorf("not there after %v: the server is slow, or the image too large", i.cfg.Timeout))
	defer stop()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer func() {
		// What ended the context says more than what broke by it.
		if cause := context.Cause(ctx); err != nil && cause != nil {
			err = cause
		}
	}()

	body, length, err := src.open(ctx)
	if err != nil {
		return stats{}, err
	}
	defer body.Close()
	if length > i.cfg.Limits.Download {
		return stats{}, i.tooLong()
	}
	if err := root.Mkdir(treeName, 0o755); err != nil {
		return stats{}, err
	}
	if err := root.Chmod(treeName, 0o755); err != nil { // whatever the umask
		return stats{}, err
	}
	tree, err := root.OpenRoot(treeName)
	if err != nil {
		return stats{}, err
	}
	defer tree.Close()
	flow := &flow{ctx: ctx, r: body, left: i.cfg.Limits.Download, tooLong: i.tooLong, total: &i.bytes}
	flow.stall = i.stall
	flow.watch = time.AfterFunc(i.stall, func() {
		cancel(fmt.Errorf("no data for %v: the server has stalled after %s", i.stall, size(flow.got.Load())))
	})
	defer flow.watch.Stop()
	if st, err = unpack(flow, tree, i.cfg.Limits, func() (*os.File, error) { return nameless(root) }); err != nil {
		return stats{}, err
	}
	return st, src.changed()
}

// nameless makes a file that is gone when it is closed.
func nameless(root *os.Root) (*os.File, error) {
	f, err := root.OpenFile(spoolName, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	if err := root.Remove(spoolName); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func (i *Images) tooLong() error {
	return fmt.Errorf("larger than %s: make it smaller, or have the operator raise the limit", size(i.cfg.Limits.Download))
}

// A flow reads the body of a transfer: it counts, keeps to the limit, ends with
// its context, and notices when nothing comes. The clock of the watch runs only
// while it reads, so that a slow disk is not taken for a slow server.
type flow struct {
	ctx     context.Context
	r       io.Reader
	left    int64
	tooLong func() error
	got     atomic.Int64
	total   *atomic.Uint64
	watch   *time.Timer
	stall   time.Duration
}

func (f *flow) Read(p []byte) (int, error) {
	if err := context.Cause(f.ctx); err != nil {
		return 0, err
	}
	f.watch.Reset(f.stall)
	n, err := f.r.Read(p)
	f.watch.Stop()
	f.got.Add(int64(n))
	f.total.Add(uint64(n))
	if f.left -= int64(n); f.left < 0 {
		return 0, f.tooLong()
	}
	if err != nil && err != io.EOF {
		return n, plain(err)
	}
	return n, err
}

// plain says what went wrong on the network without what net/http wraps around
// it: the URL with its query, and the addresses of our own resolvers.
func plain(err error) error {
	var ue *url.Error
	if errors.As(err, &ue) {
		err = ue.Err
	}
	var forbidden *kindError
	var dns *net.DNSError
	var cert *tls.CertificateVerificationError
	switch {
	case errors.As(err, &forbidden):
		var redirect *redirectError
		if errors.As(err, &redirect) {
			return redirect
		}
		return forbidden
	case errors.As(err, &dns):
		if dns.IsNotFound {
			return fmt.Errorf("no host %s: check that the URL is right", quote(dns.Name))
		}
		return fmt.Errorf("look up host %s: the name servers do not answer: try again later", quote(dns.Name))
	case errors.Is(err, io.ErrUnexpectedEOF):
		return errCut
	case errors.As(err, &cert):
		return fmt.Errorf("the server's certificate is not to be trusted: %v", cert.Err)
	}
	return err
}
