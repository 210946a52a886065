package applog

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	writeSize = 64 << 10  // of a stream: how much is written at once
	queueSize = 256 << 10 // and how much of it waits in the kernel for the receiver
)

var errHungUp = errors.New("the receiver has closed the connection")

// A link is a connection to the receiver, datagrams or a stream of messages with
// their length before them (RFC 6587, octet counting).
type link struct {
	ctx    context.Context // its end ends every wait
	conn   net.Conn
	stream bool
	times  times
	forget func() bool

	buf  []byte
	out  []byte // of a stream: what of buf was not written yet
	sent uint64 // messages, or of a stream bytes, those in out too
}

func openLink(ctx context.Context, network, address string, t times) (*link, error) {
	d := net.Dialer{Timeout: t.dial}
	conn, err := d.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	l := &link{ctx: ctx, conn: conn, stream: network == "tcp", times: t}
	l.forget = context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Now()) })
	if tcp, ok := conn.(*net.TCPConn); ok {
		// What was not acknowledged for as long as a stall is lost (tcp(7)).
		err = errors.Join(tcp.SetWriteBuffer(queueSize), control(tcp, func(fd int) error {
			return unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(t.stall.Milliseconds()))
		}))
	}
	if err != nil {
		l.close()
		return nil, err
	}
	return l, nil
}

func (l *link) close() {
	l.forget()
	l.conn.Close()
}

// put sends a message; of a stream, not before the next flush for certain.
func (l *link) put(message []byte) error {
	if !l.stream {
		_, err := l.write(message)
		if err == nil {
			l.sent++
		}
		return err
	}
	n := len(l.buf)
	l.buf = append(strconv.AppendInt(l.buf, int64(len(message)), 10), ' ')
	l.buf = append(l.buf, message...)
	l.sent += uint64(len(l.buf) - n)
	if l.out = l.buf; len(l.out) < writeSize {
		return nil
	}
	return l.flush()
}

// flush writes what waits. A receiver that takes it slowly is waited for, one
// that takes nothing is not. After an error the link is of no more use.
func (l *link) flush() error {
	if len(l.out) == 0 {
		return nil
	}
	if err := l.check(); err != nil {
		return err
	}
	for len(l.out) > 0 {
		n, err := l.write(l.out)
		l.out = l.out[n:]
		if err != nil && (n == 0 || !errors.Is(err, os.ErrDeadlineExceeded) || l.ctx.Err() != nil) {
			return err
		}
	}
	l.buf = l.buf[:0]
	return nil
}

func (l *link) write(b []byte) (int, error) {
	if err := l.conn.SetWriteDeadline(time.Now().Add(l.times.stall)); err != nil {
		return 0, err
	}
	if err := l.ctx.Err(); err != nil { // after the deadline was set: it may have overridden that of the end
		return 0, err
	}
	return l.conn.Write(b)
}

// check finds out whether the receiver is known not to be there, without waiting.
func (l *link) check() (err error) {
	return control(l.conn.(syscall.Conn), func(fd int) error {
		if !l.stream {
			code, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
			if err == nil && code != 0 {
				err = unix.Errno(code)
			}
			return err
		}
		n, _, err := unix.Recvfrom(fd, make([]byte, 1), unix.MSG_PEEK|unix.MSG_DONTWAIT)
		switch {
		case err == unix.EAGAIN || err == unix.EINTR:
			return nil
		case err == nil && n == 0:
			return errHungUp
		}
		return err
	})
}

// settled is how much of what was sent the receiver's machine has for certain,
// as far as the protocol tells: a stream was acknowledged, a datagram to a local
// socket is in its queue. The last one over UDP is not certain as long as word
// may come that nobody was there; quiet is that it would have come.
func (l *link) settled(quiet bool) (uint64, error) {
	switch l.conn.(type) {
	case *net.TCPConn:
		waiting := 0
		err := control(l.conn.(syscall.Conn), func(fd int) (err error) {
			waiting, err = unix.IoctlGetInt(fd, unix.SIOCOUTQ) // not acknowledged yet (tcp(7))
			return err
		})
		if err != nil {
			return 0, fmt.Errorf("ask what is not acknowledged: %w", err)
		}
		waiting += len(l.out)
		return l.sent - min(l.sent, uint64(waiting)), nil
	case *net.UDPConn:
		if !quiet {
			return max(l.sent, 1) - 1, nil
		}
	}
	return l.sent, nil
}

// goodbye says that nothing more comes and waits until the receiver has taken all
// there is, or for as long as it may.
func (l *link) goodbye() {
	tcp, ok := l.conn.(*net.TCPConn)
	if !ok || tcp.CloseWrite() != nil || tcp.SetReadDeadline(time.Now().Add(l.times.goodbye)) != nil || l.ctx.Err() != nil {
		return
	}
	_, _ = io.Copy(io.Discard, tcp) // to its end of the file
}
