package outbox

import (
	"errors"
	"os"
	"sync"

	"github.com/gilliam/hypervisor/server/proc/durable"
)

var errKilled = errors.New("killed")

// A mortal disk dies after so many bytes, in the middle of what it writes. What
// it was given after that never happened.
type mortal struct {
	folder
	power bool // it loses what was not synced, too

	mu     sync.Mutex
	left   int
	dead   bool
	synced map[string]int64 // the sizes that are safe
}

// spend tells how much of b can still be written.
func (m *mortal) spend(n int) (can int) {
	if m.dead {
		return 0
	}
	can = min(n, m.left)
	m.left -= can
	m.dead = can < n || m.left == 0
	return can
}

func (m *mortal) append(name string, b []byte, sync bool) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.dead {
		return errKilled
	}
	can := m.spend(len(b))
	if err := m.folder.append(name, b[:can], false); err != nil {
		return err
	}
	if sync && can == len(b) {
		m.synced[name] = m.size(name)
	}
	return m.end(can == len(b))
}

func (m *mortal) replace(name string, b []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.dead {
		return errKilled
	}
	if can := m.spend(len(b)); can < len(b) {
		if err := os.WriteFile(m.path(".new-"+name+"-1"), b[:can], 0o600); err != nil {
			return err
		}
		return m.end(false)
	}
	if err := durable.Replace(m.path(name), b); err != nil {
		return err
	}
	m.synced[name] = m.size(name)
	return m.end(true)
}

func (m *mortal) remove(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.dead {
		return errKilled
	}
	delete(m.synced, name)
	return m.folder.remove(name)
}

func (m *mortal) size(name string) int64 {
	st, err := os.Stat(m.path(name))
	if err != nil {
		return 0
	}
	return st.Size()
}

// end is the last of a write. When the power is cut, what was not synced goes.
func (m *mortal) end(done bool) error {
	if m.dead && m.power {
		for name, size := range m.synced {
			if err := os.Truncate(m.path(name), size); err != nil {
				return err
			}
		}
	}
	if !done {
		return errKilled
	}
	return nil
}

func (m *mortal) isDead() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.dead
}

// A failing disk takes no more than half of what it is given while it is full.
type failing struct {
	folder
	full bool
}

var errFull = errors.New("no space left on device")

func (f *failing) append(name string, b []byte, sync bool) error {
	if f.full {
		return errors.Join(errFull, f.folder.append(name, b[:len(b)/2], sync))
	}
	return f.folder.append(name, b, sync)
}

func (f *failing) replace(name string, b []byte) error {
	if f.full {
		return errFull
	}
	return f.folder.replace(name, b)
}
