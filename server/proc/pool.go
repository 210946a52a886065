package proc

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"
)

// errExhausted is a pool with nothing left to lease.
var errExhausted = errors.New("exhausted")

// A pool leases the numbers 0 to size-1, each to one holder on this machine:
// byte n of a shared file is locked while n is held, so that hypervisors side by
// side never give out the same one, and the kernel takes the lock back from one
// that was killed (fcntl(2), "Open file description locks"). It is safe for
// concurrent use.
type pool struct {
	file *os.File
	base int64          // offset of number 0 in the file: pools may overlap
	size int            // how many numbers
	free func(int) bool // also asked before n is leased; nil means yes

	mu   sync.Mutex
	held map[int]bool
	next int // where to look first: a number is not used again at once

	again bool // but is, the lowest first
}

// inUse is the offset of a byte, beyond all numbers, that everyone who has the
// file open locks together, and the one who removes it alone.
const inUse = 1 << 40

func openPool(path string, base int64, size int, free func(int) bool) (*pool, error) {
	for {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return nil, fmt.Errorf("open pool: %w", err)
		}
		file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
		if errors.Is(err, fs.ErrNotExist) {
			continue // the last of the others has removed the folder
		}
		if err != nil {
			return nil, fmt.Errorf("open pool: %w", err)
		}
		p := &pool{file: file, base: base, size: size, free: free, held: make(map[int]bool)}
		err = p.setLock(unix.F_OFD_SETLKW, unix.F_RDLCK, inUse)
		var st unix.Stat_t
		if err == nil {
			err = unix.Fstat(int(file.Fd()), &st)
		}
		if err == nil && st.Nlink > 0 {
			return p, nil
		}
		file.Close()
		if err != nil {
			return nil, fmt.Errorf("open pool %s: %w", path, err)
		}
		// It was removed between the open and the lock: there is a new one to make.
	}
}

// lease takes a number, or says errExhausted.
func (p *pool) lease() (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range p.size {
		n := (p.next + i) % p.size
		if p.held[n] {
			continue
		}
		switch err := p.lock(n, unix.F_WRLCK); {
		case errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES):
			continue // another hypervisor's
		case err != nil:
			return 0, fmt.Errorf("lock number %d of %s: %w", n, p.file.Name(), err)
		}
		if p.free != nil && !p.free(n) {
			_ = p.lock(n, unix.F_UNLCK)
			continue
		}
		p.held[n] = true
		if !p.again {
			p.next = (n + 1) % p.size
		}
		return n, nil
	}
	return 0, errExhausted
}

// release gives a number back. Releasing one that is not held does nothing.
func (p *pool) release(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.held[n] {
		delete(p.held, n)
		_ = p.lock(n, unix.F_UNLCK)
	}
}

// close releases every number, and removes the file when nobody else has it open.
func (p *pool) close() error {
	var err error
	if p.setLock(unix.F_OFD_SETLK, unix.F_WRLCK, inUse) == nil {
		err = os.Remove(p.file.Name())
	}
	return errors.Join(err, p.file.Close())
}

func (p *pool) lock(n int, kind int16) error {
	return p.setLock(unix.F_OFD_SETLK, kind, p.base+int64(n))
}

func (p *pool) setLock(cmd int, kind int16, offset int64) error {
	return unix.FcntlFlock(p.file.Fd(), cmd, &unix.Flock_t{Type: kind, Whence: io.SeekStart, Start: offset, Len: 1})
}

// portFree tells whether a TCP server could listen on the port now. It binds
// and never listens (ip(7)).
func portFree(port int) bool {
	s, err := unix.Socket(unix.AF_INET6, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	var addr unix.Sockaddr = &unix.SockaddrInet6{Port: port}
	if err == nil {
		err = unix.SetsockoptInt(s, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 0)
	} else {
		s, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		addr = &unix.SockaddrInet4{Port: port}
	}
	if err != nil {
		return false
	}
	defer unix.Close(s)
	// Connections of the port's last user may linger in TIME_WAIT.
	if err := unix.SetsockoptInt(s, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return false
	}
	return unix.Bind(s, addr) == nil
}
