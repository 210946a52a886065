package rootfs

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net"
	"net/url"
	"os"
	"sync/atomic"

	"github.com/gilliam/hypervisor/rootfs/fsimage"
	"github.com/gilliam/hypervisor/rootfs/manifest"
)

// receive unpacks the image into root's folder tree while it arrives, and says what
// it was.
func (i *Images) receive(ctx context.Context, abort context.CancelCauseFunc, b body, root *os.Root) (record, manifest.Manifest, error) {
	if err := root.Mkdir(treeName, 0o755); err != nil {
		return record{}, manifest.Manifest{}, err
	}
	if err := root.Chmod(treeName, 0o755); err != nil { // whatever the umask
		return record{}, manifest.Manifest{}, err
	}
	tree, err := root.OpenRoot(treeName)
	if err != nil {
		return record{}, manifest.Manifest{}, err
	}
	defer tree.Close()
	f := &flow{ctx: ctx, cancel: abort, r: b, left: i.cfg.Limits.Download, tooLong: i.tooLong, total: &i.bytes, sum: sha256.New()}
	st, err := i.take(f, tree, root)
	if f.err != nil && !errors.Is(f.err, errEnough) {
		err = f.err // whatever it broke says less
	}
	if err == nil && b.check != nil {
		err = b.check()
	}
	return record{
		Digest: digestPrefix + hex.EncodeToString(f.sum.Sum(nil)), Format: st.Format,
		Sent: f.got, Bytes: st.Bytes, Disk: st.Disk, Entries: st.Entries,
	}, st.List, err
}

// take unpacks an archive into tree, or keeps a file system in root.
func (i *Images) take(f *flow, tree, root *os.Root) (stats, error) {
	head, err := f.peek(fsimage.HeadSize)
	if err != nil {
		return stats{}, err
	}
	img, is, err := fsimage.Read(head)
	switch {
	case err != nil:
		return stats{}, err
	case is:
		return i.keep(f, img, root)
	}
	return unpack(f, tree, i.cfg.Limits, func() (*os.File, error) { return nameless(root) })
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

// A flow reads the body of a transfer: it counts and hashes, keeps to the limit,
// and ends with its context.
type flow struct {
	ctx     context.Context
	cancel  context.CancelCauseFunc // of ctx, with which r ends
	r       io.Reader
	left    int64
	tooLong func() error
	got     int64
	total   *atomic.Uint64
	sum     hash.Hash
	head    []byte // was peeked at and is read next
	ended   bool
	err     error // what it ended by, if not well
}

// peek is the beginning of what is read next, of n bytes or all that there is.
func (f *flow) peek(n int) ([]byte, error) {
	head := make([]byte, n)
	n, err := io.ReadFull(f, head)
	if err == io.EOF || err == io.ErrUnexpectedEOF && f.err == nil {
		err = nil
	}
	f.head = head[:n]
	return f.head, err
}

// errEnough is that nobody wants to read the rest.
var errEnough = errors.New("what came was enough")

// abort ends a Read that waits, and all later ones.
func (f *flow) abort() { f.cancel(errEnough) }

func (f *flow) Read(p []byte) (int, error) {
	if len(f.head) > 0 {
		n := copy(p, f.head)
		f.head = f.head[n:]
		return n, nil
	}
	if f.ended {
		return 0, io.EOF
	}
	if f.err = context.Cause(f.ctx); f.err != nil {
		return 0, f.err
	}
	n, err := f.r.Read(p)
	f.got += int64(n)
	f.total.Add(uint64(n))
	f.sum.Write(p[:n])
	if f.left -= int64(n); f.left < 0 {
		n, err = 0, f.tooLong()
	}
	if f.ended = err == io.EOF; err != nil && !f.ended {
		f.err = err
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
