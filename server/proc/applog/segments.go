package applog

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// segmentNames are the two files of a log.
var segmentNames = [2]string{"log.0", "log.1"}

// mostReads is how often the files are read for one entry. A log that is as it
// should be needs less than ten; one that somebody keeps changing under the
// reader must not keep it for ever.
const mostReads = 100

var errRestless = errors.New("the log changes faster than it can be read")

// segments are the files of a log. They need not exist when it is begun to be
// read.
type segments struct {
	ctx   context.Context // its end ends every read
	files [2]segment
	left  int   // reads of one entry that are left
	err   error // why a file could not be opened or read
}

type segment struct {
	all  *segments
	path string
	file *os.File // nil until it exists
}

func openSegments(ctx context.Context, dir string) *segments {
	s := &segments{ctx: ctx}
	for i, name := range segmentNames {
		s.files[i] = segment{all: s, path: filepath.Join(dir, name)}
	}
	return s
}

// openAll opens what there is already.
func (s *segments) openAll() {
	for i := range s.files {
		_ = s.files[i].open() // it is tried again when it is read
	}
}

// readers are what a Reader of package output takes.
func (s *segments) readers() [2]io.ReaderAt { return [2]io.ReaderAt{&s.files[0], &s.files[1]} }

func (s *segments) close() {
	for i := range s.files {
		if f := s.files[i].file; f != nil {
			f.Close()
			s.files[i].file = nil
		}
	}
}

// ReadAt reads the file, once there is one.
func (f *segment) ReadAt(b []byte, at int64) (int, error) {
	if err := f.all.ctx.Err(); err != nil {
		return 0, err
	}
	if f.all.left--; f.all.left < 0 {
		f.all.err = errRestless
		return 0, errRestless
	}
	if err := f.open(); err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			f.all.err = err
		}
		return 0, err
	}
	n, err := f.file.ReadAt(b, at)
	if err != nil && err != io.EOF {
		f.all.err = err
	}
	return n, err
}

func (f *segment) open() (err error) {
	if f.file == nil {
		f.file, err = os.OpenFile(f.path, os.O_RDONLY|unix.O_NOFOLLOW, 0)
	}
	return err
}
