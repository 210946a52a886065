package main

import (
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/gilliam/hypervisor/isolate/selftest/attacks"
)

func unixSockets(size int) error {
	for done := 0; done < size; {
		p, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		_ = unix.SetsockoptInt(p[0], unix.SOL_SOCKET, unix.SO_SNDBUF, 16*mib)
		done += drown(p[0])
	}
	return nil
}

// tcpSockets fills connections that nobody reads from.
func tcpSockets(size int) error {
	l, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	if err := unix.Bind(l, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return err
	}
	if err := unix.Listen(l, 16); err != nil {
		return err
	}
	address, err := unix.Getsockname(l)
	if err != nil {
		return err
	}
	for done := 0; done < size; {
		c, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		if err := unix.Connect(c, address); err != nil {
			return err
		}
		if _, _, err := unix.Accept4(l, unix.SOCK_CLOEXEC); err != nil {
			return err
		}
		if err := unix.SetNonblock(c, true); err != nil {
			return err
		}
		n := drown(c)
		if n < 4096 {
			return unix.ENOBUFS // throttled
		}
		done += n
	}
	return nil
}

// udpSockets sends to sockets that nobody reads from. What does not fit is
// dropped, so that the kernel must be asked what is there. All sockets are made
// first: what arrives at them is charged where the kernel cannot wait, and nothing
// that it could refuse comes between.
func udpSockets(size int) error {
	const each = 128 << 10 // that a socket takes, at least
	type receiver struct {
		fd      int
		address unix.Sockaddr
	}
	var all []receiver
	for range size / each {
		s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		_ = unix.SetsockoptInt(s, unix.SOL_SOCKET, unix.SO_RCVBUF, 16*mib)
		if err := unix.Bind(s, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
			return err
		}
		address, err := unix.Getsockname(s)
		if err != nil {
			return err
		}
		all = append(all, receiver{s, address})
	}
	for _, to := range all {
		for range each / (32 << 10) {
			if err := unix.Sendto(to.fd, chunk[:32<<10], 0, to.address); err != nil {
				return err
			}
		}
		info := [9]uint32{} // SK_MEMINFO_RMEM_ALLOC comes first
		length := uint32(unsafe.Sizeof(info))
		if err := attacks.Call(unix.SYS_GETSOCKOPT, uintptr(to.fd), unix.SOL_SOCKET, unix.SO_MEMINFO, attacks.Pointer(&info), attacks.Pointer(&length)); err != nil {
			return err
		}
		if info[0] < each {
			return unix.ENOBUFS
		}
	}
	return nil
}

// netlinkSockets asks for answers and does not read them.
func netlinkSockets(size int) error {
	const each = 8 << 10 // of a buffer for answers, at least
	message := make([]byte, unix.SizeofNlMsghdr+unix.SizeofIfInfomsg)
	header := unix.NlMsghdr{Len: uint32(len(message)), Type: unix.RTM_GETLINK, Flags: unix.NLM_F_REQUEST | unix.NLM_F_DUMP}
	*(*unix.NlMsghdr)(unsafe.Pointer(&message[0])) = header
	for done := 0; done < size; done += each {
		s, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
		if err != nil {
			return err
		}
		if err := unix.Sendto(s, message, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
			return err
		}
	}
	return nil
}
