package attacks

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// families are the address families that a sandbox has no use for.
var families = map[string]int{
	"AF_AX25": 3, "AF_IPX": 4, "AF_APPLETALK": 5, "AF_NETROM": 6, "AF_BRIDGE": 7, "AF_ATMPVC": 8, "AF_X25": 9,
	"AF_ROSE": 11, "AF_DECnet": 12, "AF_NETBEUI": 13, "AF_SECURITY": 14, "AF_KEY": 15, "AF_PACKET": 17,
	"AF_ASH": 18, "AF_ECONET": 19, "AF_ATMSVC": 20, "AF_RDS": 21, "AF_SNA": 22, "AF_IRDA": 23, "AF_PPPOX": 24,
	"AF_WANPIPE": 25, "AF_LLC": 26, "AF_IB": 27, "AF_MPLS": 28, "AF_CAN": 29, "AF_TIPC": 30, "AF_BLUETOOTH": 31,
	"AF_IUCV": 32, "AF_RXRPC": 33, "AF_ISDN": 34, "AF_PHONET": 35, "AF_IEEE802154": 36, "AF_CAIF": 37,
	"AF_ALG": 38, "AF_NFC": 39, "AF_VSOCK": 40, "AF_KCM": 41, "AF_QIPCRTR": 42, "AF_SMC": 43, "AF_XDP": 44, "AF_MCTP": 45,
	"family 46": 46, "family 63": 63,
}

var types = []int{unix.SOCK_STREAM, unix.SOCK_DGRAM, unix.SOCK_RAW, unix.SOCK_SEQPACKET, unix.SOCK_DCCP, unix.SOCK_PACKET}

// Sockets is what must come of sockets. The filter refuses families; protocols of
// IP it does not know, and which of these a kernel has is its own affair.
var Sockets = Expectation{Errno: "EPERM", Want: map[string]string{
	"usable unix": "ok", "usable inet": "ok", "usable inet6": "ok|EAFNOSUPPORT", "usable netlink": "ok",
	"ping": Whatever, "SCTP": Whatever, "SCTP seqpacket": Whatever, "DCCP": Whatever, "L2TP": Whatever,
	"raw ICMPv6": "EPERM|EAFNOSUPPORT", "packet as inet": "EPERM|EAFNOSUPPORT",
}}

// sockets asks for every kind of socket that is not Unix, TCP, UDP or routing
// netlink.
func sockets(r *Report, _ []string) {
	for name, family := range families {
		r.Try(name, socket(uintptr(family)))
		if err := pair(family); err == nil {
			r.Try(name+" pair", nil)
		}
	}
	for protocol := 1; protocol < 32; protocol++ {
		r.Try(fmt.Sprintf("AF_NETLINK %d", protocol), Call(unix.SYS_SOCKET, unix.AF_NETLINK, unix.SOCK_RAW, uintptr(protocol)))
	}
	for name, s := range map[string][3]uintptr{
		"raw ICMP":          {unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP},
		"raw ICMPv6":        {unix.AF_INET6, unix.SOCK_RAW, unix.IPPROTO_ICMPV6},
		"raw IP":            {unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_RAW},
		"raw TCP":           {unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_TCP},
		"ping":              {unix.AF_INET, unix.SOCK_DGRAM, unix.IPPROTO_ICMP},
		"SCTP":              {unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_SCTP},
		"SCTP seqpacket":    {unix.AF_INET, unix.SOCK_SEQPACKET, unix.IPPROTO_SCTP},
		"DCCP":              {unix.AF_INET, unix.SOCK_DCCP, unix.IPPROTO_DCCP},
		"L2TP":              {unix.AF_INET, unix.SOCK_DGRAM, unix.IPPROTO_L2TP},
		"packet as inet":    {unix.AF_INET, unix.SOCK_PACKET, 0x300},
		"AF_ALG high bits":  {1<<32 | unix.AF_ALG, unix.SOCK_SEQPACKET, 0},
		"AF_ALG as unix":    {unix.AF_UNIX<<32 | unix.AF_ALG, unix.SOCK_SEQPACKET, 0},
		"vsock high bits":   {1<<32 | unix.AF_VSOCK, unix.SOCK_STREAM, 0},
		"netlink high bits": {unix.AF_NETLINK, unix.SOCK_RAW, 1<<32 | unix.NETLINK_KOBJECT_UEVENT},
	} {
		r.Try(name, Call(unix.SYS_SOCKET, s[0], s[1], s[2]))
	}
	// What must work, or the rest proves nothing.
	for name, s := range map[string][3]uintptr{
		"usable unix":    {unix.AF_UNIX, unix.SOCK_STREAM, 0},
		"usable inet":    {unix.AF_INET, unix.SOCK_STREAM, 0},
		"usable inet6":   {unix.AF_INET6, unix.SOCK_DGRAM, 0},
		"usable netlink": {unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_ROUTE},
	} {
		r.Fact(name, Outcome(Call(unix.SYS_SOCKET, s[0], s[1], s[2])))
	}
}

// socket asks for a socket of a family with whatever type it may have. The
// answer is that to the first type, unless another one works.
func socket(family uintptr) error {
	var first error
	for _, kind := range types {
		err := Call(unix.SYS_SOCKET, family, uintptr(kind), 0)
		if err == nil {
			return nil
		}
		if first == nil {
			first = err
		}
	}
	return first
}

func pair(family int) error {
	var last error
	for _, kind := range types {
		fds, err := unix.Socketpair(family, kind, 0)
		if err == nil {
			return unix.Close(fds[0])
		}
		last = err
	}
	return last
}

// Filters is what must come of filters.
var Filters = Expectation{Errno: "EPERM", Want: map[string]string{"usable option": "ok"}}

// filters gives a socket a program. Compiled ones of all users share memory that
// is soon full (net.core.bpf_jit_limit).
func filters(r *Report, _ []string) {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		Fatal(err)
	}
	code := [2]unix.SockFilter{{Code: unix.BPF_ALU | unix.BPF_DIV | unix.BPF_K, K: 3}, {Code: unix.BPF_RET | unix.BPF_A}}
	program := unix.SockFprog{Len: 2, Filter: &code[0]}
	const high = 1 << 32 // the kernel does not look there
	for name, o := range map[string][2]uintptr{
		"SO_ATTACH_FILTER":           {unix.SOL_SOCKET, unix.SO_ATTACH_FILTER},
		"SO_ATTACH_FILTER high bits": {high | unix.SOL_SOCKET, high | unix.SO_ATTACH_FILTER},
		"SO_ATTACH_REUSEPORT_CBPF":   {unix.SOL_SOCKET, unix.SO_ATTACH_REUSEPORT_CBPF},
		"SO_ATTACH_BPF":              {unix.SOL_SOCKET, unix.SO_ATTACH_BPF},
		"SO_ATTACH_REUSEPORT_EBPF":   {unix.SOL_SOCKET, unix.SO_ATTACH_REUSEPORT_EBPF},
	} {
		r.Try(name, Call(unix.SYS_SETSOCKOPT, uintptr(s), o[0], o[1], Pointer(&program), unsafe.Sizeof(program)))
	}
	r.Fact("usable option", Outcome(unix.SetsockoptInt(s, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)))
}
