package isolate

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// Listening tells whether the sandbox listens on the TCP port, at any address,
// IPv4 or IPv6, as the kernel has it (sock_diag(7)). It returns [ErrEnded] when
// the sandbox has ended.
//
// A socket is the sandbox's when one of its processes made it: its cgroup, where
// the kernel tells the cgroup of a socket, and one of its ids must have. Another
// sandbox that has taken the port on the host's network does not count, nor does
// a socket that this one was handed, over a Unix socket say. One that this one
// made and handed on does, for as long as somebody holds it.
func (s *Sandbox) Listening(port int) (bool, error) {
	d, err := s.askAbout(port)
	if err != nil {
		return false, err
	}
	defer d.close()
	return d.ask()
}

// WaitListening returns when the sandbox listens on the port, as [Sandbox.Listening]
// tells; [ErrEnded] when it ended first, or ctx's error.
//
// No event tells of a listen(2), so it asks again and again: soon where little
// time has passed and ever less often, see [listenPause].
func (s *Sandbox) WaitListening(ctx context.Context, port int) error {
	d, err := s.askAbout(port)
	if err != nil {
		return err
	}
	defer d.close()
	for begun := time.Now(); ; {
		if found, err := d.ask(); found || err != nil {
			return err
		}
		select {
		case <-s.done:
			return ErrEnded
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(listenPause(time.Since(begun))):
		}
	}
}

// maxListeningPorts is how many ports [Sandbox.ListeningPorts] tells at most.
const maxListeningPorts = 8

// ListeningPorts are TCP ports that the sandbox listens on, eight at most, in no
// order. It is for people to read, and returns [ErrEnded] as [Sandbox.Listening]
// does.
func (s *Sandbox) ListeningPorts() ([]int, error) {
	d, err := s.sockDiag(listenQuery{ids: s.plan.IDs})
	if err != nil {
		return nil, err
	}
	defer d.close()
	return d.ports(maxListeningPorts)
}

// A sockDiag asks the kernel about the listening sockets of one sandbox.
type sockDiag struct {
	fd    int // a netlink socket (netlink(7)), of the network namespace that it was made in
	query listenQuery
	buf   []byte
}

func (s *Sandbox) askAbout(port int) (*sockDiag, error) {
	if port < 1 || port > 65535 {
		return nil, fmt.Errorf("%d is no port", port)
	}
	return s.sockDiag(listenQuery{port: uint16(port), ids: s.plan.IDs})
}

// sockDiag makes one, which the caller closes.
func (s *Sandbox) sockDiag(query listenQuery) (*sockDiag, error) {
	select {
	case <-s.done:
		return nil, ErrEnded
	default:
	}
	d := &sockDiag{query: query, buf: make([]byte, diagBuffer)}
	if dir := s.cgroup.Path(""); dir != "" && s.host.SocketCgroups {
		var st unix.Stat_t
		switch err := unix.Stat(dir, &st); err {
		case nil:
		case unix.ENOENT: // destroyed meanwhile
			return nil, ErrEnded
		default:
			return nil, &os.PathError{Op: "stat", Path: dir, Err: err}
		}
		d.query.cgroup = st.Ino // which is the group's id (kernfs_ino in linux/kernfs.h)
	}
	err := s.inNetwork(func() (err error) {
		d.fd, err = openSockDiag()
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("ask for the sockets of sandbox %s: %w", s.id, err)
	}
	return d, nil
}

// inNetwork runs f in the sandbox's network namespace.
func (s *Sandbox) inNetwork(f func() error) error {
	if s.plan.Network == NetworkHost {
		return f()
	}
	if s.process == nil {
		return ErrEnded
	}
	var err error
	gone := s.process.WithHandle(func(pidfd uintptr) {
		err = onThread(func() error {
			if err := unix.Setns(int(pidfd), unix.CLONE_NEWNET); err != nil { // Linux 5.8
				return fmt.Errorf("enter its network namespace: %w", err)
			}
			return f()
		})
	})
	if gone != nil || errors.Is(err, unix.ESRCH) {
		return ErrEnded
	}
	return err
}

// diagBuffer holds any piece of an answer: the kernel makes them as large as the
// reader's buffer was, or NLMSG_GOODSIZE, which is at most this
// (netlink_dump in net/netlink/af_netlink.c).
const diagBuffer = 8 << 10

func openSockDiag() (int, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return -1, fmt.Errorf("netlink socket: %w", err)
	}
	return fd, nil
}

func (d *sockDiag) close() { _ = unix.Close(d.fd) }

// ask tells whether there is a socket of the query's now. When there is, nothing
// more can be asked.
func (d *sockDiag) ask() (bool, error) {
	ports, err := d.ports(1)
	return len(ports) > 0, err
}

// ports lists the ports of the query's sockets, but no more than most: when there
// are as many, the rest of the kernel's answer stays unread, and nothing can be
// asked after that.
func (d *sockDiag) ports(most int) (ports []int, err error) {
	for _, family := range []uint8{unix.AF_INET6, unix.AF_INET} {
		ports, err = d.exchange(d.query.request(family), ports, most)
		if errors.Is(err, unix.ENOENT) {
			err = fmt.Errorf("%w (no module tcp_diag?)", err)
		}
		if err != nil {
			return nil, fmt.Errorf("ask the kernel who listens on port %d: %w", d.query.port, err)
		}
		if len(ports) == most {
			break
		}
	}
	return ports, nil
}

// exchange sends a request, and adds what the answer tells to the ports. The
// kernel makes the answer while it is read: there is nothing to wait for.
func (d *sockDiag) exchange(request []byte, ports []int, most int) ([]int, error) {
	if err := unix.Sendto(d.fd, request, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return nil, fmt.Errorf("send: %w", err)
	}
	for last := false; !last; {
		n, _, err := unix.Recvfrom(d.fd, d.buf, 0)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("receive: %w", err)
		}
		var more []int
		if more, last, err = d.query.answer(d.buf[:n]); err != nil {
			return nil, err
		}
		for _, port := range more {
			if slices.Contains(ports, port) {
				continue
			}
			if ports = append(ports, port); len(ports) == most {
				return ports, nil
			}
		}
	}
	return ports, nil
}

// socketCgroups tells whether the kernel can be asked for the sockets of one
// cgroup (CONFIG_SOCK_CGROUP_DATA): it refuses a filter that it does not know.
func socketCgroups() bool {
	fd, err := openSockDiag()
	if err != nil {
		return false
	}
	d := &sockDiag{fd: fd, query: listenQuery{port: 1, cgroup: ^uint64(0)}, buf: make([]byte, diagBuffer)}
	defer d.close()
	_, err = d.ask()
	return err == nil
}
