package manifest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"runtime"
	"sync"
	"syscall"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// Scan lists the tree at dir. read, unless it is nil, is told of every so many
// bytes that were read, by several goroutines at once.
func Scan(ctx context.Context, dir string, read func(bytes int)) (Manifest, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return Manifest{}, err
	}
	defer root.Close()
	top, err := root.Lstat(".")
	if err != nil {
		return Manifest{}, err
	}
	if read == nil {
		read = func(int) {}
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	s := &scanner{ctx: ctx, dev: top.Sys().(*syscall.Stat_t).Dev, hashing: g, read: read}
	err = s.entry(root, ".", ".")
	if err == nil {
		err = s.folder(root, ".")
	}
	if first := g.Wait(); first != nil { // why the walk ended, too
		err = first
	}
	if err != nil {
		return Manifest{}, fmt.Errorf("list %s: %w", dir, err)
	}
	return New(s.entries)
}

// A scanner walks a tree, and has what files hold hashed meanwhile.
type scanner struct {
	ctx     context.Context
	dev     uint64 // the file system that the tree is on
	hashing *errgroup.Group
	read    func(int)

	mu      sync.Mutex
	entries []Entry
}

func (s *scanner) add(e Entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.entries = append(s.entries, e)
}

// folder lists what is in a folder; at is its path in the tree.
func (s *scanner) folder(dir *os.Root, at string) error {
	f, err := dir.Open(".")
	if err != nil {
		return err
	}
	names, err := f.Readdirnames(-1)
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	for _, name := range names {
		if err := s.ctx.Err(); err != nil {
			return err
		}
		if err := s.entry(dir, name, path.Join(at, name)); err != nil {
			return err
		}
	}
	return nil
}

// entry lists name in dir, and what is below it.
func (s *scanner) entry(dir *os.Root, name, at string) error {
	fi, err := dir.Lstat(name)
	if err != nil {
		return err
	}
	st := fi.Sys().(*syscall.Stat_t)
	if st.Dev != s.dev {
		return &fs.PathError{Op: "list", Path: at, Err: errors.New("something is mounted there: umount it first")}
	}
	e := Entry{Path: at, Type: types[st.Mode&unix.S_IFMT], Mode: st.Mode & 0o7777, UID: st.Uid, GID: st.Gid}
	if e.Xattrs, err = XattrsAt(dir, name); err != nil {
		return &fs.PathError{Op: "listxattr", Path: at, Err: err}
	}
	switch e.Type {
	case Dir:
		s.add(e)
		if at == "." {
			return nil
		}
		sub, err := dir.OpenRoot(name)
		if err != nil {
			return err
		}
		defer sub.Close()
		return s.folder(sub, at)
	case File:
		f, err := dir.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
		if err != nil {
			return err
		}
		// Owned by the group that Scan waits for: ends with the file, or with ctx.
		s.hashing.Go(func() error { return s.contents(f, e) })
		return nil
	case Link:
		if e.Target, err = dir.Readlink(name); err != nil {
			return err
		}
	case Char, Block:
		e.Device = st.Rdev
	}
	s.add(e)
	return nil
}

var types = map[uint32]string{
	unix.S_IFREG: File, unix.S_IFDIR: Dir, unix.S_IFLNK: Link, unix.S_IFIFO: FIFO,
	unix.S_IFSOCK: Socket, unix.S_IFCHR: Char, unix.S_IFBLK: Block,
}

// contents lists a file with what it holds.
func (s *scanner) contents(f *os.File, e Entry) error {
	defer f.Close()
	h := sha256.New()
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	for {
		if err := s.ctx.Err(); err != nil {
			return err
		}
		n, err := f.Read(*buf)
		h.Write((*buf)[:n])
		e.Size += int64(n)
		s.read(n)
		if err == io.EOF {
			break
		}
		if err != nil {
			return &fs.PathError{Op: "read", Path: e.Path, Err: err}
		}
	}
	e.SHA256 = hex.EncodeToString(h.Sum(nil))
	s.add(e)
	return nil
}

var buffers = sync.Pool{New: func() any {
	b := make([]byte, 256<<10)
	return &b
}}
