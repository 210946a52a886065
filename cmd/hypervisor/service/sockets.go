package service

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strings"

	"github.com/coreos/go-systemd/v22/activation"
	"golang.org/x/sys/unix"
)

// Sockets listen already: the service manager has opened them and keeps them
// open when the daemon ends, so that clients wait instead of being refused.
type Sockets struct {
	Unix, TCP []net.Listener
}

// Inherit takes over the sockets that are meant for this process (LISTEN_PID). It
// tells them apart by what they are and not by their names, so that a wrong name
// gives nobody a right: who can connect to a unix socket is trusted.
//
// A socket that the API cannot be on, or a unix socket that anybody may connect
// to, is an error.
func Inherit() (Sockets, error) {
	var s Sockets
	for _, f := range activation.Files(true) {
		if err := s.take(f); err != nil {
			return Sockets{}, errors.Join(fmt.Errorf("socket %s from the service manager: %w", f.Name(), err), s.Close())
		}
	}
	return s, nil
}

func (s *Sockets) take(f *os.File) error {
	defer f.Close() // a listener is a copy
	if err := listens(f); err != nil {
		return err
	}
	l, err := net.FileListener(f)
	if err != nil {
		return err
	}
	switch addr := l.Addr().(type) {
	case *net.TCPAddr:
		s.TCP = append(s.TCP, l)
		return nil
	case *net.UnixAddr:
		if err = closed(addr.Name); err == nil {
			s.Unix = append(s.Unix, l)
			return nil
		}
	default:
		err = fmt.Errorf("%s: only unix and TCP sockets are served", addr.Network())
	}
	return errors.Join(err, l.Close())
}

// listens makes sure that connections can be accepted, which net.FileListener
// takes for granted (socket(7), SO_ACCEPTCONN).
func listens(f *os.File) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var kind, accepts int
	var optErr error
	err = raw.Control(func(fd uintptr) {
		if kind, optErr = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_TYPE); optErr == nil {
			accepts, optErr = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
		}
	})
	if err := errors.Join(err, optErr); err != nil {
		return err
	}
	if kind != unix.SOCK_STREAM || accepts == 0 {
		return errors.New("not a stream socket that listens: use ListenStream=")
	}
	return nil
}

// closed makes sure that not everybody may connect to the unix socket: they would
// be root here. systemd opens sockets to all when it is told nothing else.
func closed(path string) error {
	if path == "" || strings.HasPrefix(path, "@") {
		return errors.New("an abstract socket is open to everybody: give it a path")
	}
	st, err := os.Stat(path)
	if err != nil {
		return err
	}
	if st.Mode().Type() != fs.ModeSocket || st.Mode().Perm()&0o002 != 0 { // connect(2) asks for the right to write
		return fmt.Errorf("%s is %v, open to everybody: set SocketMode=0660 and SocketGroup=, or SocketMode=0600", path, st.Mode())
	}
	return nil
}

// Close closes what was taken over. The service manager's copies stay open.
func (s Sockets) Close() error {
	var errs []error
	for _, l := range append(s.Unix, s.TCP...) {
		errs = append(errs, l.Close())
	}
	return errors.Join(errs...)
}
