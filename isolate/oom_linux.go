package isolate

import (
	"fmt"
	"os"

	"github.com/opencontainers/cgroups"
	"golang.org/x/sys/unix"
)

// newOOMEvent is an eventfd that the kernel writes to when a process of the v1
// cgroup finds no memory left below its limit, which is just before it kills one
// (cgroup-v1/memory.rst, 10 "OOM Control"). It holds for as long as somebody has the
// file open. Nil where the plan asks for none.
func newOOMEvent(m cgroups.Manager, c Cgroup) (event *os.File, err error) {
	if !c.OOMEvent {
		return nil, nil
	}
	dir := m.Path("memory")
	control, err := os.Open(dir + "/memory.oom_control")
	if err != nil {
		return nil, err
	}
	defer control.Close()
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("eventfd: %w", err)
	}
	event = os.NewFile(uintptr(fd), "oom event")
	if err := writeLines(dir+"/cgroup.event_control", fmt.Sprintf("%d %d", fd, control.Fd())); err != nil {
		event.Close()
		return nil, err
	}
	return event, nil
}
