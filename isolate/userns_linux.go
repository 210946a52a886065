package isolate

import (
	"fmt"
	"os"
	"runtime"
	"sync"
	"syscall"
)

// A userNamespaces keeps one user namespace for each range of ids in use, for
// nothing but idmapped mounts: a mount copies the namespace's id maps when it is
// made (mount_setattr(2)). It is safe for concurrent use.
type userNamespaces struct {
	init string // path of sandbox-init's executable

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
	f, err := newUserNamespace(u.init, ids)
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

// newUserNamespace makes a user namespace by starting a child in one, which the
// kernel stops at its execve (PTRACE_TRACEME) until it is killed here.
func newUserNamespace(init string, ids IDRange) (*os.File, error) {
	runtime.LockOSThread() // ptrace(2): the tracer is a thread
	defer runtime.UnlockOSThread()
	child, err := os.StartProcess(init, []string{"sandbox-init"}, &os.ProcAttr{
		Env: []string{},
		Sys: &syscall.SysProcAttr{
			Cloneflags:  syscall.CLONE_NEWUSER,
			Ptrace:      true,
			Pdeathsig:   syscall.SIGKILL,
			UidMappings: ids.mappings(),
			GidMappings: ids.mappings(),
		},
	})
	if err != nil {
		return nil, err
	}
	ns, err := os.Open(fmt.Sprintf("/proc/%d/ns/user", child.Pid))
	_ = child.Kill()
	_, _ = child.Wait()
	return ns, err
}

func (r IDRange) mappings() []syscall.SysProcIDMap {
	return []syscall.SysProcIDMap{{ContainerID: 0, HostID: int(r.Base), Size: int(r.Size)}}
}
