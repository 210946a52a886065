package server

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/user"
	"strconv"
)

// MaxSocketPath is the longest path of a unix socket; see unix(7).
const MaxSocketPath = 107

// ListenUnix listens on the socket path. The socket is root's and the
// group's, mode 0660; where the host has no such group it is root's alone,
// mode 0600. A socket that a hypervisor left behind is replaced; one that
// someone answers on is not. Closing the listener removes the socket.
//
// Between bind and chmod the socket has the mode that the process's umask
// leaves; a umask of 022 keeps everyone else out of it.
func ListenUnix(path, group string) (net.Listener, error) {
	if len(path) > MaxSocketPath {
		return nil, fmt.Errorf("listen %s: the path of a unix socket has at most %d bytes, this one has %d", path, MaxSocketPath, len(path))
	}
	if err := removeStale(path); err != nil {
		return nil, err
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, err
	}
	if err := restrict(path, group); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// removeStale removes a socket that no one listens on.
func removeStale(path string) error {
	st, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case st.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("listen %s: something that is not a socket is in the way", path)
	}
	if c, err := net.Dial("unix", path); err == nil {
		c.Close()
		return fmt.Errorf("listen %s: another program answers on this socket", path)
	}
	return os.Remove(path)
}

// restrict sets who may connect.
func restrict(path, group string) error {
	g, err := user.LookupGroup(group)
	if err != nil { // no such group, or no group given
		return os.Chmod(path, 0o600)
	}
	gid, err := strconv.Atoi(g.Gid)
	if err != nil {
		return fmt.Errorf("chown %s: group %s: %w", path, group, err)
	}
	if err := os.Chown(path, -1, gid); err != nil {
		return err
	}
	return os.Chmod(path, 0o660)
}
