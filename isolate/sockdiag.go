package isolate

import (
	"encoding/binary"
	"fmt"
	"syscall"
	"time"
)

// What sock_diag(7) and linux/inet_diag.h name these; numbers never change.
const (
	netlinkHeader  = 16 // struct nlmsghdr
	inetDiagReqV2  = 56 // struct inet_diag_req_v2
	inetDiagMsg    = 72 // struct inet_diag_msg
	inetDiagSport  = 4  // its id.idiag_sport
	inetDiagMsgUID = 64 // its idiag_uid

	sockDiagByFamily    = 20
	inetDiagReqBytecode = 1  // attribute of a request: a filter
	inetDiagCgroupCond  = 13 // INET_DIAG_BC_CGROUP_COND, Linux 5.9
	tcpfListen          = 1 << 10
	protocolTCP         = 6

	nlmsgError = 2
	nlmsgDone  = 3

	nlmFRequest = 0x1
	nlmFDump    = 0x300
)

// A listenQuery asks for the sockets that listen on a TCP port and that
// processes of one sandbox made.
type listenQuery struct {
	port   uint16  // 0 for any
	ids    IDRange // of host user ids, one of which made the socket
	cgroup uint64  // the id of the v2 cgroup that it was made in; 0 for any
}

// request is the query as a netlink message, for IPv4 (2, AF_INET) or IPv6 (10,
// AF_INET6) sockets. The kernel leaves out those of other ports and, if there is
// a cgroup, of others: a neighbour may have thousands on the port.
func (q listenQuery) request(family uint8) []byte {
	const sport, cookie = netlinkHeader + 8, netlinkHeader + inetDiagReqV2 - 8
	b := make([]byte, netlinkHeader+inetDiagReqV2, netlinkHeader+inetDiagReqV2+16)
	b[netlinkHeader] = family
	b[netlinkHeader+1] = protocolTCP
	binary.NativeEndian.PutUint32(b[netlinkHeader+4:], tcpfListen)
	binary.BigEndian.PutUint16(b[sport:], q.port)
	binary.NativeEndian.PutUint64(b[cookie:], ^uint64(0)) // INET_DIAG_NOCOOKIE
	if q.cgroup != 0 {
		// One instruction (struct inet_diag_bc_op) and its operand, 12 bytes: to go on
		// where the filter ends is to pass, 4 bytes behind that is not to.
		b = binary.NativeEndian.AppendUint16(b, 4+12)
		b = binary.NativeEndian.AppendUint16(b, inetDiagReqBytecode)
		b = append(b, inetDiagCgroupCond, 12)
		b = binary.NativeEndian.AppendUint16(b, 12+4)
		b = binary.NativeEndian.AppendUint64(b, q.cgroup)
	}
	binary.NativeEndian.PutUint32(b, uint32(len(b)))
	binary.NativeEndian.PutUint16(b[4:], sockDiagByFamily)
	binary.NativeEndian.PutUint16(b[6:], nlmFRequest|nlmFDump)
	return b
}

// answer reads messages that the kernel has sent: the ports of those that are of
// sockets of the query's sandbox, and whether one was the last. More may follow
// when none was.
func (q listenQuery) answer(b []byte) (ports []int, last bool, err error) {
	for len(b) > 0 {
		size := 0
		if len(b) >= netlinkHeader {
			size = int(binary.NativeEndian.Uint32(b))
		}
		if size < netlinkHeader || size > len(b) {
			return nil, false, fmt.Errorf("the kernel's answer of %d bytes holds a message of %d", len(b), size)
		}
		body := b[netlinkHeader:size]
		switch kind := binary.NativeEndian.Uint16(b[4:]); {
		case kind == nlmsgDone || kind == nlmsgError:
			return ports, true, answerError(body)
		case kind == sockDiagByFamily && len(body) >= inetDiagMsg:
			if q.ids.contains(binary.NativeEndian.Uint32(body[inetDiagMsgUID:])) {
				ports = append(ports, int(binary.BigEndian.Uint16(body[inetDiagSport:])))
			}
		default:
			return nil, false, fmt.Errorf("the kernel's answer holds a message of kind %d and %d bytes", kind, len(body))
		}
		b = b[min((size+3)&^3, len(b)):] // NLMSG_ALIGN
	}
	return ports, false, nil
}

// answerError is the error that the last message has: a negative errno, or 0.
func answerError(body []byte) error {
	if len(body) < 4 {
		return fmt.Errorf("the kernel's last message has %d bytes", len(body))
	}
	if errno := int32(binary.NativeEndian.Uint32(body)); errno < 0 {
		return syscall.Errno(-errno)
	}
	return nil
}

// contains tells whether id is one of the range.
func (r IDRange) contains(id uint32) bool { return id >= r.Base && id-r.Base < r.Size }

// listenPause is how long to wait before the next time it is asked whether a
// sandbox listens that did not for so long: a sixteenth of that, and so by how
// much at most it is noticed too late, but 2 ms at least and 250 ms at most. One
// that has not in a minute may well be of a program that never will.
func listenPause(waited time.Duration) time.Duration {
	most := max(250*time.Millisecond, min(waited/240, 10*time.Second))
	return min(max(waited/16, 2*time.Millisecond), most)
}
