package isolate

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/gilliam/hypervisor/isolate/initbin"
)

// An Engine launches sandboxes. It holds what they share: the executable of
// sandbox-init, sealed in memory; the compiled seccomp filter; the user namespaces of
// idmapped mounts; and the file systems of layers. It is safe for concurrent use.
type Engine struct {
	host    Host
	init    *os.File // sealed memfd, open for reading only
	filters filters
	users   userNamespaces
	layers  *layers
	pids    pidsLimits
}

// NewEngine makes the engine for a host that [Host.Check] finds fit.
func NewEngine(h Host) (*Engine, error) {
	if err := h.Check(); err != nil {
		return nil, err
	}
	raiseLimits()
	e := &Engine{host: h, layers: newLayers(), pids: findPidsLimits()}
	if _, err := e.filters.get(Plan{}); err != nil { // what nearly every sandbox has
		return nil, err
	}
	init, err := sealedExecutable("sandbox-init", initbin.Binary)
	if err != nil {
		return nil, err
	}
	e.init = init
	return e, nil
}

// Host is what the engine was made for.
func (e *Engine) Host() Host { return e.host }

// Close frees what the engine holds. Sandboxes that still run go on.
func (e *Engine) Close() error {
	e.users.close()
	e.layers.close()
	removeCgroupParent()
	return e.init.Close()
}

// sealedExecutable puts an executable into a memfd that nobody, root in a
// sandbox included, can ever write to (CVE-2019-5736; memfd_create(2), fcntl(2)
// "File Sealing").
func sealedExecutable(name string, binary []byte) (*os.File, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING|unix.MFD_EXEC)
	if err == unix.EINVAL { // before Linux 6.3 every memfd is executable
		fd, err = unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	}
	if err != nil {
		return nil, fmt.Errorf("memfd_create %s: %w", name, err)
	}
	w := os.NewFile(uintptr(fd), name)
	defer w.Close()
	if _, err := w.Write(binary); err != nil {
		return nil, fmt.Errorf("write %s: %w", name, err)
	}
	if err := w.Chmod(0o555); err != nil {
		return nil, fmt.Errorf("chmod %s: %w", name, err)
	}
	const seals = unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE
	if _, err := unix.FcntlInt(w.Fd(), unix.F_ADD_SEALS, seals); err != nil {
		return nil, fmt.Errorf("seal %s: %w", name, err)
	}
	// A file that is open for writing cannot be executed (ETXTBSY).
	r, err := os.Open(fmt.Sprintf("/proc/self/fd/%d", w.Fd()))
	if err != nil {
		return nil, fmt.Errorf("reopen %s: %w", name, err)
	}
	return r, nil
}

// raiseLimits lifts the hypervisor's own limits on what the kernel counts per
// user namespace and in all those above: what these limits allow, all sandboxes
// have together (ucounts). It needs CAP_SYS_RESOURCE, which root in a virtual
// machine may lack; then the limits stay.
func raiseLimits() {
	unlimited := unix.Rlimit{Cur: unix.RLIM_INFINITY, Max: unix.RLIM_INFINITY}
	for _, resource := range []int{rlimitMsgqueue, rlimitSigpending, rlimitNproc, rlimitMemlock} {
		_ = unix.Prlimit(0, resource, &unlimited, nil)
	}
}
