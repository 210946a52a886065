package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/gilliam/hypervisor/cmd/hypervisor/service"
	"github.com/gilliam/hypervisor/server"
)

// socketGroup is who may use the API's socket beside root.
const socketGroup = "gilliam"

// listeners are what the API is on, one or more of each.
type listeners struct{ unix, tcp []net.Listener }

// listen opens all that the API is on, or nothing: the sockets that the service
// manager has given us and, of a kind that it has given none of, the one that the
// flags name.
func listen(cfg *serveConfig, given service.Sockets) (listeners, error) {
	on := listeners{given.Unix, given.TCP}
	for _, l := range on.tcp {
		addr, err := netip.ParseAddrPort(l.Addr().String())
		if err == nil {
			err = cfg.allowTCP(addr)
		}
		if err != nil {
			return listeners{}, fmt.Errorf("socket %s from the service manager: %w", l.Addr(), err)
		}
	}
	var opened net.Listener
	if len(on.unix) == 0 {
		if err := os.MkdirAll(filepath.Dir(cfg.socket), 0o755); err != nil {
			return listeners{}, err
		}
		var err error
		if opened, err = server.ListenUnix(cfg.socket, socketGroup); err != nil {
			return listeners{}, err
		}
		on.unix = []net.Listener{opened}
	}
	if len(on.tcp) > 0 {
		return on, nil
	}
	tcp, err := net.Listen("tcp", net.JoinHostPort(cfg.listen.String(), strconv.Itoa(cfg.port)))
	if err != nil {
		if errors.Is(err, unix.EADDRINUSE) {
			err = fmt.Errorf("%w: choose another --port", err)
		}
		if opened != nil {
			err = errors.Join(err, opened.Close())
		}
		return listeners{}, err
	}
	on.tcp = []net.Listener{tcp}
	return on, nil
}

// addrs are the listeners' addresses, for people.
func addrs(on []net.Listener) string {
	var list []string
	for _, l := range on {
		list = append(list, l.Addr().String())
	}
	return strings.Join(list, " ")
}

// maxConns is how many connections each listener may have open: all of them
// together at most a quarter of what files we may open, so that no client can
// keep the daemon from working.
func (on listeners) maxConns() int {
	each := openFiles() / 4 / uint64(len(on.unix)+len(on.tcp))
	return int(max(1, min(each, server.DefaultMaxConns)))
}

// openFiles is how many files we may have open. Go has raised the limit to what
// is allowed and gives back the old one to whatever it starts (package os).
func openFiles() uint64 {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return 1024 // as a kernel does, getrlimit(2)
	}
	return limit.Cur
}
