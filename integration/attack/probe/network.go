package main

import (
	"encoding/binary"
	"net"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gilliam/hypervisor/isolate/selftest/attacks"
)

// network changes the network and reaches for the host. The arguments are
// addresses at which somebody listens, or should.
func network(r *attacks.Report, args []string) {
	entries, err := os.ReadDir("/sys/class/net")
	if err != nil {
		r.Fact("interfaces", attacks.Outcome(err))
	} else {
		var names []string
		for _, e := range entries {
			names = append(names, e.Name())
		}
		r.Fact("interfaces", strings.Join(names, " "))
	}
	for _, address := range args {
		c, err := net.DialTimeout("tcp", address, 2*time.Second)
		r.Try("connect "+address, err)
		if err == nil {
			c.Close()
		}
	}
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		attacks.Fatal(err)
	}
	defer unix.Close(s)
	for name, o := range map[string][2]int{
		"SO_MARK": {unix.SOL_SOCKET, unix.SO_MARK}, "SO_PRIORITY": {unix.SOL_SOCKET, unix.SO_PRIORITY},
		"SO_RCVBUFFORCE": {unix.SOL_SOCKET, unix.SO_RCVBUFFORCE}, "SO_SNDBUFFORCE": {unix.SOL_SOCKET, unix.SO_SNDBUFFORCE},
		"SO_DEBUG": {unix.SOL_SOCKET, unix.SO_DEBUG}, "IP_TRANSPARENT": {unix.SOL_IP, unix.IP_TRANSPARENT},
		"IP_OPTIONS": {unix.SOL_IP, unix.IP_XFRM_POLICY},
	} {
		r.Try(name, unix.SetsockoptInt(s, o[0], o[1], 7))
	}
	const iptSetReplace = 64
	r.Try("replace iptables", unix.SetsockoptString(s, unix.SOL_IP, iptSetReplace, string(make([]byte, 96))))
	if ifreq, err := unix.NewIfreq("lo"); err == nil {
		ifreq.SetUint16(unix.IFF_UP | unix.IFF_PROMISC)
		r.Try("promiscuous lo", unix.IoctlIfreq(s, unix.SIOCSIFFLAGS, ifreq))
	}
	changeNetwork(r)
	l, err := net.Listen("tcp", "127.0.0.1:80")
	r.Try("listen on port 80", err)
	if err == nil {
		l.Close()
	}
}

// changeNetwork asks for changes by routing netlink (rtnetlink(7)). lo is interface 1.
func changeNetwork(r *attacks.Report) {
	link := func(kind string) []byte {
		info := attribute(unix.IFLA_LINKINFO, attribute(unix.IFLA_INFO_KIND, []byte(kind)))
		return append(make([]byte, 16), info...)
	}
	down := make([]byte, 16)
	binary.NativeEndian.PutUint32(down[4:], 1)  // lo
	binary.NativeEndian.PutUint32(down[12:], 1) // change IFF_UP, to 0
	address := append([]byte{unix.AF_INET, 32, 0, 0, 1, 0, 0, 0}, attribute(unix.IFA_LOCAL, []byte{127, 9, 9, 9})...)
	route := append([]byte{unix.AF_INET, 24, 0, 0, unix.RT_TABLE_MAIN, unix.RTPROT_BOOT, unix.RT_SCOPE_LINK, unix.RTN_UNICAST, 0, 0, 0, 0},
		attribute(unix.RTA_DST, []byte{127, 8, 8, 0})...)
	route = append(route, attribute(unix.RTA_OIF, []byte{1, 0, 0, 0})...)
	neighbour := append([]byte{unix.AF_INET, 0, 0, 0, 1, 0, 0, 0, unix.NUD_PERMANENT, 0, 0, 0}, attribute(unix.NDA_DST, []byte{127, 7, 7, 7})...)
	const create = unix.NLM_F_CREATE | unix.NLM_F_EXCL
	r.Try("new dummy", request(unix.RTM_NEWLINK, create, link("dummy")))
	r.Try("new bridge", request(unix.RTM_NEWLINK, create, link("bridge")))
	r.Try("new veth", request(unix.RTM_NEWLINK, create, link("veth")))
	r.Try("new address", request(unix.RTM_NEWADDR, create, address))
	r.Try("new route", request(unix.RTM_NEWROUTE, create, route))
	r.Try("new neighbour", request(unix.RTM_NEWNEIGH, create, neighbour))
	r.Try("lo down", request(unix.RTM_NEWLINK, 0, down))
}

func attribute(kind uint16, value []byte) []byte {
	b := binary.NativeEndian.AppendUint16(nil, uint16(4+len(value)))
	b = binary.NativeEndian.AppendUint16(b, kind)
	b = append(b, value...)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

// request sends one message and waits for its acknowledgement.
func request(kind, flags uint16, body []byte) error {
	s, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer unix.Close(s)
	message := binary.NativeEndian.AppendUint32(nil, uint32(unix.SizeofNlMsghdr+len(body)))
	message = binary.NativeEndian.AppendUint16(message, kind)
	message = binary.NativeEndian.AppendUint16(message, flags|unix.NLM_F_REQUEST|unix.NLM_F_ACK)
	message = append(append(message, make([]byte, 8)...), body...)
	if err := unix.Sendto(s, message, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return err
	}
	answer := make([]byte, 8192)
	n, _, err := unix.Recvfrom(s, answer, 0)
	if err != nil {
		return err
	}
	if n < unix.SizeofNlMsghdr+4 {
		return unix.EBADMSG
	}
	if errno := int32(binary.NativeEndian.Uint32(answer[unix.SizeofNlMsghdr:])); errno != 0 {
		return unix.Errno(-errno)
	}
	return nil
}
