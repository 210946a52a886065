package rootfs

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"syscall"
)

// A source is where an image comes from.
type source interface {
	fmt.Stringer // as it may be shown

	// key names the source in the cache.
	key() string

	// open begins the transfer, or says errUnchanged when the source has still
	// what had marks.
	open(ctx context.Context, had mark) (body, error)
}

// A body is what a source gives.
type body struct {
	io.ReadCloser
	size  int64 // -1 when no one says
	mark  mark
	check func() error // tells, when all was read, that it may be a mixture
}

// errUnchanged is a source that has what it had.
var errUnchanged = errors.New("unchanged")

// source finds out what ref, which has passed Check, stands for.
func (i *Images) source(ref string) (source, error) {
	if !strings.HasPrefix(ref, "/") {
		return &urlSource{client: i.client, url: ref, stall: i.stall, retry: i.retry, log: i.cfg.Log}, nil
	}
	dir, rest, err := i.allowed(ref)
	if err != nil {
		return nil, err
	}
	return &fileSource{path: ref, dir: dir, rest: rest}, nil
}

func hashOf(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

// A fileSource is an image in an allowed folder of this host.
type fileSource struct {
	path      string // as it was given
	dir, rest string // the allowed folder, and the path in it
}

func (s *fileSource) String() string { return s.path }
func (s *fileSource) key() string    { return hashOf(s.path) }

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

func (s *fileSource) open(_ context.Context, had mark) (body, error) {
	f, state, err := s.stat()
	if err != nil {
		return body{}, err
	}
	fi, err := f.Stat()
	if err == nil && state == had.File {
		err = errUnchanged
	}
	if err != nil {
		f.Close()
		return body{}, err
	}
	return body{ReadCloser: f, size: fi.Size(), mark: mark{File: state}, check: func() error { return s.same(state) }}, nil
}

var errChanged = errors.New("the file has changed while it was read: write it elsewhere, then rename it into place")

// same tells whether the file is in that state.
func (s *fileSource) same(state string) error {
	f, now, err := s.stat()
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if now != state {
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
