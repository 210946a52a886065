package rootfs

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"strings"
	"syscall"
)

// A source is where an image comes from.
type source interface {
	fmt.Stringer // as it may be shown

	// key names the image in the cache.
	key() string

	// open begins the transfer; size is -1 when no one says.
	open(ctx context.Context) (body io.ReadCloser, size int64, err error)

	// changed tells, after the transfer, that it may be a mixture.
	changed() error
}

// source finds out what ref, which has passed Check, stands for.
func (i *Images) source(ref string) (source, error) {
	if !strings.HasPrefix(ref, "/") {
		return &urlSource{client: i.client, url: ref}, nil
	}
	dir, rest, err := i.allowed(ref)
	if err != nil {
		return nil, err
	}
	s := &fileSource{path: ref, dir: dir, rest: rest}
	f, state, err := s.stat()
	if err != nil {
		return nil, err
	}
	s.state = state
	return s, f.Close()
}

func hash(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

// A urlSource is an image on a web server.
type urlSource struct {
	client *http.Client
	url    string
}

func (s *urlSource) String() string { return Redact(s.url) }
func (s *urlSource) key() string    { return hash(s.url) }
func (s *urlSource) changed() error { return nil }

func (s *urlSource) open(ctx context.Context) (io.ReadCloser, int64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url, nil)
	if err != nil {
		return nil, 0, invalid("must be a URL like https://example.com/app.tar.gz")
	}
	req.Header.Set("User-Agent", "gilliam-hypervisor")
	resp, err := s.client.Do(req)
	if err != nil {
		return nil, 0, plain(err)
	}
	if resp.StatusCode != http.StatusOK {
		resp.Body.Close()
		return nil, 0, statusError(resp.StatusCode)
	}
	return resp.Body, resp.ContentLength, nil
}

// statusError says what an answer other than 200 means, in our words: the
// server's own could be anything.
func statusError(code int) error {
	hint := "the server does not give out the image"
	switch {
	case code == http.StatusNotFound || code == http.StatusGone:
		hint = "check that the URL is right"
	case code == http.StatusUnauthorized || code == http.StatusForbidden:
		hint = "the server wants a login; make the image public to this host, for instance by a signed URL"
	case code == http.StatusTooManyRequests || code >= 500:
		hint = "the server has a problem; try again later"
	}
	text := http.StatusText(code)
	if text == "" {
		text = "unknown status"
	}
	err := fmt.Errorf("%d %s: %s", code, text, hint)
	if code == http.StatusNotFound || code == http.StatusGone {
		return &kindError{ErrNotExist, err.Error()}
	}
	return err
}

// A fileSource is an image in an allowed folder of this host.
type fileSource struct {
	path      string // as it was given
	dir, rest string // the allowed folder, and the path in it
	state     string // the file when it was first seen
}

func (s *fileSource) String() string { return s.path }
func (s *fileSource) key() string    { return hash(s.path + "\x00" + s.state) }

// stat opens the file through the allowed folder, so that no link leads out of
// it, and without waiting if it is a FIFO. The state holds the change time,
// which cp -p and touch cannot set.
func (s *fileSource) stat() (*os.File, string, error) {
	root, err := os.OpenRoot(s.dir)
	if err != nil {
		return nil, "", plainFile(err)
	}
	defer root.Close()
	f, err := root.OpenFile(s.rest, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, "", plainFile(err)
	}
	fi, err := f.Stat()
	if err == nil && !fi.Mode().IsRegular() {
		err = invalid("not a file but a %s", kindOf(fi.Mode()))
	}
	if err != nil {
		f.Close()
		return nil, "", err
	}
	state := fmt.Sprintf("%d %d %d", fi.Size(), fi.ModTime().UnixNano(), changeTime(fi).UnixNano())
	return f, state, nil
}

// plainFile says of a file that cannot be opened why not, without where.
func plainFile(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return &kindError{ErrNotExist, "no such file: check the path on this host"}
	}
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return invalid("open: %v: it must be a file below an allowed folder, and links must not lead out of that", pe.Err)
	}
	return err
}

func (s *fileSource) open(ctx context.Context) (io.ReadCloser, int64, error) {
	f, state, err := s.stat()
	if err != nil {
		return nil, 0, err
	}
	if state != s.state {
		f.Close()
		return nil, 0, errChanged
	}
	fi, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, 0, err
	}
	return f, fi.Size(), nil
}

var errChanged = errors.New("the file has changed while it was read: write it elsewhere, then rename it into place")

func (s *fileSource) changed() error {
	f, state, err := s.stat()
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if state != s.state {
		return errChanged
	}
	return nil
}

// kindOf names what a file is, for a person.
func kindOf(m fs.FileMode) string {
	switch {
	case m.IsDir():
		return "folder"
	case m&fs.ModeSymlink != 0:
		return "symbolic link"
	case m&fs.ModeNamedPipe != 0:
		return "FIFO"
	case m&fs.ModeSocket != 0:
		return "socket"
	case m&fs.ModeDevice != 0:
		return "device"
	}
	return "file"
}
