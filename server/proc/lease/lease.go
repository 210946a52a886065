package lease

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

var (
	// ErrExhausted is a pool with nothing left to take.
	ErrExhausted = errors.New("exhausted")
	// ErrTaken is a number that is someone else's.
	ErrTaken = errors.New("taken by another")
)

// Numbers are what a pool gives out.
type Numbers struct {
	First, Count int

	// Free is asked before a number is given out, and says no to one that is in
	// use without a lease. Stale tells that there is a lease whose proc is gone:
	// what it ran may be there still. Nil means that none is in use.
	Free func(n int, stale bool) bool

	// Lowest takes the lowest free number; otherwise one is not used again soon.
	Lowest bool
}

// A Pool is the numbers of one kind, shared with other hypervisors. It is safe
// for concurrent use.
type Pool struct {
	dir     string
	owner   string // our state folder
	numbers Numbers

	mu   sync.Mutex // one of us at a time in locked
	next int        // where to look first
}

// An owner is who holds a number.
type owner struct{ stateDir, proc string }

// procsDir is where the folders of an owner's procs are: a lease is as good as
// the folder that it names.
const procsDir = "procs"

// Open opens the pool in a folder, which is made when missing, for the hypervisor
// of a state folder.
func Open(dir, stateDir string, numbers Numbers) (*Pool, error) {
	p := &Pool{dir: dir, owner: filepath.Clean(stateDir), numbers: numbers}
	return p, p.locked(p.sweep)
}

// newSuffix is of a lease that is being written.
const newSuffix = ".new"

// sweep removes what those have left who were killed as they wrote a lease. Nobody
// writes one meanwhile.
func (p *Pool) sweep() error {
	entries, err := os.ReadDir(p.dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), newSuffix) {
			if err := os.Remove(filepath.Join(p.dir, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// Take leases a number for a proc, whose folder must be there, or returns
// [ErrExhausted].
func (p *Pool) Take(proc string) (int, error) {
	n := 0
	err := p.locked(func() error {
		for i := range p.numbers.Count {
			n = p.numbers.First + (p.next+i)%p.numbers.Count
			held, err := p.holder(n)
			if err != nil {
				return err
			}
			stale := held != owner{}
			if stale && held.alive() || p.numbers.Free != nil && !p.numbers.Free(n, stale) {
				continue
			}
			if !p.numbers.Lowest {
				p.next = (n - p.numbers.First + 1) % p.numbers.Count
			}
			return p.write(n, proc)
		}
		return ErrExhausted
	})
	if err != nil {
		return 0, fmt.Errorf("lease of %s: %w", p.dir, err)
	}
	return n, nil
}

// Claim makes sure that a number is leased to a proc that holds it, according to
// its record. It returns [ErrTaken] when it is another's.
func (p *Pool) Claim(n int, proc string) error {
	err := p.locked(func() error {
		held, err := p.holder(n)
		if err != nil {
			return err
		}
		if held != (owner{}) && held != (owner{p.owner, proc}) && held.alive() {
			return fmt.Errorf("%w: proc %s of %s", ErrTaken, held.proc, held.stateDir)
		}
		return p.write(n, proc)
	})
	if err != nil {
		return fmt.Errorf("lease %d of %s: %w", n, p.dir, err)
	}
	return nil
}

// Release gives back a number. To give back what the proc does not hold does
// nothing.
func (p *Pool) Release(n int, proc string) error {
	err := p.locked(func() error {
		held, err := p.holder(n)
		if err != nil || held != (owner{p.owner, proc}) {
			return err
		}
		return os.Remove(p.path(n))
	})
	if err != nil {
		return fmt.Errorf("release %d of %s: %w", n, p.dir, err)
	}
	return nil
}

// Held lists the numbers that are leased to procs of our state folder.
func (p *Pool) Held() (map[int]string, error) {
	held := make(map[int]string)
	err := p.locked(func() error {
		entries, err := os.ReadDir(p.dir)
		if err != nil {
			return err
		}
		for _, e := range entries {
			n, err := strconv.Atoi(e.Name())
			if err != nil {
				continue
			}
			if o, err := p.holder(n); err != nil {
				return err
			} else if o.stateDir == p.owner {
				held[n] = o.proc
			}
		}
		return nil
	})
	return held, err
}

// Close removes the folder if no number is leased any more.
func (p *Pool) Close() error {
	return p.locked(func() error {
		entries, err := os.ReadDir(p.dir)
		if err != nil || len(entries) > 1 {
			return err
		}
		return errors.Join(os.Remove(p.lockPath()), os.Remove(p.dir))
	})
}

func (p *Pool) path(n int) string { return filepath.Join(p.dir, strconv.Itoa(n)) }

func (p *Pool) lockPath() string { return filepath.Join(p.dir, "lock") }

// holder is who holds a number, or nobody. What is no lease is nobody's.
func (p *Pool) holder(n int) (owner, error) {
	b, err := os.ReadFile(p.path(n))
	if errors.Is(err, fs.ErrNotExist) {
		return owner{}, nil
	}
	proc, stateDir, ok := strings.Cut(strings.TrimSuffix(string(b), "\n"), " ")
	if err == nil && (!ok || stateDir == "" || proc == "") {
		return owner{}, nil
	}
	return owner{stateDir, proc}, err
}

// alive tells whether the proc that a lease names is there.
func (o owner) alive() bool {
	_, err := os.Lstat(filepath.Join(o.stateDir, procsDir, o.proc))
	return err == nil
}

// write makes the lease: a whole one, at the instant of the rename.
func (p *Pool) write(n int, proc string) error {
	tmp := p.path(n) + newSuffix
	err := os.WriteFile(tmp, []byte(proc+" "+p.owner+"\n"), 0o600)
	if err == nil {
		err = os.Rename(tmp, p.path(n))
	}
	if err != nil {
		os.Remove(tmp)
	}
	return err
}

// locked calls f while no one else on this machine uses the folder (flock(2)).
// The kernel takes the lock back from a hypervisor that is killed.
func (p *Pool) locked(f func() error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		if err := os.MkdirAll(p.dir, 0o755); err != nil {
			return err
		}
		lock, err := os.OpenFile(p.lockPath(), os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
		if errors.Is(err, fs.ErrNotExist) {
			continue // the last of the others has removed the folder
		}
		if err != nil {
			return err
		}
		var st unix.Stat_t
		for {
			if err = unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != unix.EINTR {
				break
			}
		}
		if err == nil {
			err = unix.Fstat(int(lock.Fd()), &st)
		}
		if err == nil && st.Nlink == 0 { // it was removed between the open and the lock
			lock.Close()
			continue
		}
		if err == nil {
			err = f()
		}
		lock.Close()
		return err
	}
}
