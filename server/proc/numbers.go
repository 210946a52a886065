package proc

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/gilliam/hypervisor/isolate"
	"github.com/gilliam/hypervisor/isolate/failpoint"
	"github.com/gilliam/hypervisor/server/proc/lease"
)

// idsEach is how many host ids each sandbox gets, and idsBase where the first
// range begins: beyond the ids that systemd gives to containers and users, and
// below 2^31, which some programs cannot count past (UIDS-GIDS of systemd).
const (
	idsEach  = 1 << 16
	idsBase  = 0x70000000
	idRanges = (0x7fff0000 - idsBase) / idsEach
)

// openNumbers opens the pools of ports and of ranges of ids.
func (m *Manager) openNumbers() (err error) {
	if m.cfg.BasePort < 1 || m.cfg.MaxProcs < 1 || m.cfg.BasePort+m.cfg.MaxProcs-1 > 65535 {
		return fmt.Errorf("pool of ports %d+%d: must lie in 1 to 65535", m.cfg.BasePort, m.cfg.MaxProcs)
	}
	m.ports, err = lease.Open(filepath.Join(m.cfg.RunDir, "ports"), m.cfg.StateDir,
		lease.Numbers{First: m.cfg.BasePort, Count: m.cfg.MaxProcs, Free: portFree})
	if err != nil {
		return err
	}
	m.ids, err = openIDs(m.cfg.RunDir, m.cfg.StateDir)
	return err
}

// idsOf is a range of ids by its number.
func idsOf(n int) isolate.IDRange {
	return isolate.IDRange{Base: uint32(idsBase + n*idsEach), Size: idsEach}
}

// idsFree tells whether no process runs under an id of the range: a hypervisor
// whose state folder is gone may have left some.
func idsFree(n int, stale bool) bool {
	if !stale {
		return true
	}
	procs, err := filepath.Glob("/proc/[0-9]*/status")
	if err != nil {
		return false
	}
	ids := idsOf(n)
	for _, path := range procs {
		b, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		for line := range strings.Lines(string(b)) {
			var uid uint32
			if _, err := fmt.Sscanf(line, "Uid:\t%d", &uid); err == nil && uid-ids.Base < ids.Size {
				return false
			}
		}
	}
	return true
}

// portFree tells whether a TCP server could listen on the port now. It binds
// and never listens (ip(7)).
func portFree(port int, _ bool) bool {
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

// number takes the numbers that the record lacks. The proc's folder is there, so
// that they are nobody else's.
func (i *instance) number(r *record) error {
	p := &r.Proc
	if p.Port == 0 {
		port, err := i.m.ports.Take(p.ID)
		if errors.Is(err, lease.ErrExhausted) {
			return fmt.Errorf("no port left of %d-%d: stop a proc, or start the hypervisor with a larger --max-procs",
				i.m.cfg.BasePort, i.m.cfg.BasePort+i.m.cfg.MaxProcs-1)
		}
		if err != nil {
			return err
		}
		failpoint.Hit("proc.port.leased")
		p.Port = port
		p.Config = mergeConfig(p.Config, port, i.m.host)
	}
	if r.IDs == nil {
		ids, err := i.m.ids.Take(p.ID)
		if err != nil {
			return fmt.Errorf("no range of user ids left: %w", err)
		}
		failpoint.Hit("proc.ids.leased")
		r.IDs = &ids
	}
	return nil
}
