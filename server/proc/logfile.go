package proc

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
)

// Names of a proc's log: the part being written and the one before it.
const (
	logName     = "log"
	logNameOld  = "log.1"
	maxLogBytes = 8 << 20 // of each part
)

// A logFile keeps what an app wrote, in the line format of the Kubernetes CRI:
//
//	2026-11-22T19:49:04.123456789Z stdout F the line
//
// with P instead of F for a line that goes on in the next one. It is bounded:
// when a part is full the one before it is dropped. It is safe for concurrent
// use by writers and readers.
type logFile struct {
	dir string
	max int64 // bytes of a part

	mu      sync.Mutex
	file    *os.File // nil when nothing is written any more
	size    int64
	part    int           // number of the part being written, from 0
	changed chan struct{} // closed and replaced when there is more to read
}

// openLog begins a proc's log.
func openLog(dir string) (*logFile, error) {
	f, err := os.OpenFile(filepath.Join(dir, logName), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	return &logFile{dir: dir, max: maxLogBytes, file: f, changed: make(chan struct{})}, nil
}

// endedLog is the log of a proc that has ended.
func endedLog(dir string) *logFile {
	l := &logFile{dir: dir, changed: make(chan struct{})}
	if _, err := os.Stat(filepath.Join(dir, logNameOld)); err == nil {
		l.part = 1
	}
	return l
}

// write appends whole formatted lines.
func (l *logFile) write(lines []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		return os.ErrClosed
	}
	if l.size > 0 && l.size+int64(len(lines)) > l.max {
		if err := l.rotate(); err != nil {
			return err
		}
	}
	n, err := l.file.Write(lines)
	l.size += int64(n)
	l.tell()
	return err
}

// rotate begins a new part. Callers hold l.mu.
func (l *logFile) rotate() error {
	current := filepath.Join(l.dir, logName)
	if err := os.Rename(current, filepath.Join(l.dir, logNameOld)); err != nil {
		return err
	}
	f, err := os.OpenFile(current, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	err = l.file.Close()
	l.file, l.size = f, 0
	l.part++
	return err
}

// close ends the log: readers that follow it stop at its end.
func (l *logFile) close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		return nil
	}
	err := errors.Join(l.file.Sync(), l.file.Close())
	l.file = nil
	l.tell()
	return err
}

// tell wakes the readers. Callers hold l.mu.
func (l *logFile) tell() {
	close(l.changed)
	l.changed = make(chan struct{})
}

// open returns a part for reading, or the oldest one that is still there, and
// its number.
func (l *logFile) open(part int) (*os.File, int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	name := logName
	if part < l.part {
		part, name = l.part-1, logNameOld
	} else {
		part = l.part
	}
	f, err := os.Open(filepath.Join(l.dir, name))
	return f, part, err
}

// state is the number of the part being written, whether writing has ended, and
// what is closed when either changes or more is written.
func (l *logFile) state() (part int, ended bool, changed <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.part, l.file == nil, l.changed
}
