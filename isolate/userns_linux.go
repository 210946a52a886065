package isolate

import (
	"fmt"
	"os"
	"sync"

	"github.com/gilliam/hypervisor/isolate/spawn"
)

// A userNamespaces keeps one user namespace for each range of ids in use, for
// nothing but idmapped mounts: a mount copies the namespace's id maps when it is
// made (mount_setattr(2)). It is safe for concurrent use.
type userNamespaces struct {
	mu   sync.Mutex
	open map[IDRange]*os.File
}

// get returns the namespace whose ids 0… are the range's. It stays open until
// close; callers must not close it.
func (u *userNamespaces) get(ids IDRange) (*os.File, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if f, ok := u.open[ids]; ok {
		return f, nil
	}
	f, err := spawn.UserNamespace(spawn.IDs(ids))
	if err != nil {
		return nil, fmt.Errorf("make user namespace for ids %d+%d: %w", ids.Base, ids.Size, err)
	}
	if u.open == nil {
		u.open = make(map[IDRange]*os.File)
	}
	u.open[ids] = f
	return f, nil
}

func (u *userNamespaces) close() {
	u.mu.Lock()
	defer u.mu.Unlock()
	for ids, f := range u.open {
		f.Close()
		delete(u.open, ids)
	}
}
