package main

import (
	"net/netip"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/gilliam/hypervisor/isolate/selftest/attacks"
)

// reach connects to where somebody listens outside: addresses with a port, and
// abstract sockets as @NAME. It also tells the network's interfaces.
func reach(r *attacks.Report, args []string) {
	for _, arg := range args {
		r.Try("connect "+arg, connect(arg))
	}
	entries, err := os.ReadDir("/sys/class/net")
	if err != nil {
		r.Fact("interfaces", attacks.Outcome(err))
		return
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	r.Fact("interfaces", strings.Join(names, " "))
}

func connect(to string) error {
	var address unix.Sockaddr = &unix.SockaddrUnix{Name: to}
	family := unix.AF_UNIX
	if !strings.HasPrefix(to, "@") {
		a, err := netip.ParseAddrPort(to)
		switch {
		case err != nil:
			attacks.Fatal(err)
		case a.Addr().Is4():
			family, address = unix.AF_INET, &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
		default:
			family, address = unix.AF_INET6, &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
		}
	}
	s, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(s)
	return unix.Connect(s, address)
}

// open opens files for reading and writing.
func open(r *attacks.Report, args []string) {
	for _, path := range args {
		r.Try("open "+path, attacks.Open(path, unix.O_RDWR))
	}
}

// write writes its own name into files, which it may.
func write(r *attacks.Report, args []string) {
	for _, path := range args {
		r.Fact(path, attacks.Outcome(os.WriteFile(path, []byte("probe\n"), 0o644)))
	}
}
