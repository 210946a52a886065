package applog

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// watches is the process's only inotify instance. A user may have 128 of them,
// those of all apps together, so it is kept once it was got.
var watches watcher

// A watcher tells of changes of logs in folders (inotify(7)).
type watcher struct {
	mu      sync.Mutex
	file    *os.File // the instance; nil until the first watch
	running bool
	folders map[int32][]*watch
}

// A watch is one who is told of changes in one folder.
type watch struct {
	all    *watcher
	folder int32 // the kernel's name of it
	tell   func(gone bool)
}

// add has tell called whenever a log in dir has changed, and when it is gone,
// until the watch is removed. It must neither block nor add or remove a watch.
func (w *watcher) add(dir string, tell func(gone bool)) (*watch, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.file == nil {
		fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
		if err != nil {
			return nil, fmt.Errorf("inotify instance: %w; see fs.inotify.max_user_instances", err)
		}
		w.file = os.NewFile(uintptr(fd), "inotify")
		w.folders = map[int32][]*watch{}
	}
	var wd int
	err := control(w.file, func(fd int) (err error) {
		// The same number for every watch of one folder.
		wd, err = unix.InotifyAddWatch(fd, dir, unix.IN_MODIFY|unix.IN_CREATE|unix.IN_DELETE|unix.IN_ONLYDIR)
		return err
	})
	if err != nil {
		return nil, &fs.PathError{Op: "inotify_add_watch", Path: dir, Err: err}
	}
	if !w.running {
		w.running = true
		// Owned by the watches: ends when the last is removed.
		go w.run()
	}
	one := &watch{all: w, folder: int32(wd), tell: tell}
	w.folders[one.folder] = append(w.folders[one.folder], one)
	return one, nil
}

// remove ends the watch. Its tell may be running still.
func (o *watch) remove() {
	w := o.all
	w.mu.Lock()
	defer w.mu.Unlock()
	rest := slices.DeleteFunc(w.folders[o.folder], func(other *watch) bool { return other == o })
	if len(rest) > 0 {
		w.folders[o.folder] = rest
		return
	}
	if _, ok := w.folders[o.folder]; ok { // else the folder was removed, and the kernel's watch with it
		delete(w.folders, o.folder)
		_ = control(w.file, func(fd int) error {
			_, err := unix.InotifyRmWatch(fd, uint32(o.folder))
			return err
		})
	}
	if len(w.folders) == 0 {
		_ = w.file.SetReadDeadline(time.Unix(1, 0)) // wakes run
	}
}

// run tells the watches of what the kernel reports, until there is none.
func (w *watcher) run() {
	buf := make([]byte, 16<<10)
	for {
		n, err := w.file.Read(buf)
		w.mu.Lock()
		w.report(buf[:max(n, 0)])
		if err != nil {
			if len(w.folders) == 0 {
				w.running = false
				w.mu.Unlock()
				return
			}
			_ = w.file.SetReadDeadline(time.Time{}) // there is a new one
		}
		w.mu.Unlock()
	}
}

// report tells of each event that the kernel has put into b. Callers hold w.mu.
func (w *watcher) report(b []byte) {
	for len(b) >= unix.SizeofInotifyEvent {
		folder := int32(binary.NativeEndian.Uint32(b))
		mask := binary.NativeEndian.Uint32(b[4:])
		end := unix.SizeofInotifyEvent + int(binary.NativeEndian.Uint32(b[12:]))
		name := string(bytes.TrimRight(b[unix.SizeofInotifyEvent:end], "\x00"))
		b = b[end:]
		switch {
		case mask&unix.IN_Q_OVERFLOW != 0: // some were left out
			for _, all := range w.folders {
				tellAll(all, false)
			}
		case mask&unix.IN_IGNORED != 0: // the folder was removed
			tellAll(w.folders[folder], true)
			delete(w.folders, folder)
		case name == segmentNames[0] || name == segmentNames[1]:
			// The folder itself goes only when nobody has one of them open.
			tellAll(w.folders[folder], mask&unix.IN_DELETE != 0)
		}
	}
}

func tellAll(all []*watch, gone bool) {
	for _, one := range all {
		one.tell(gone)
	}
}

// control calls f with a file's descriptor. Fd would make it a blocking one.
func control(file syscall.Conn, f func(fd int) error) error {
	conn, err := file.SyscallConn()
	if err != nil {
		return err
	}
	controlErr := conn.Control(func(fd uintptr) { err = f(int(fd)) })
	return errors.Join(controlErr, err)
}
