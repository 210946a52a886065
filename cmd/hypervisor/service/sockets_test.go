package service

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// file is a copy of what a listener or a connection has open.
func file(t *testing.T, from interface{ File() (*os.File, error) }) *os.File {
	t.Helper()
	f, err := from.File()
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func listenUnix(t *testing.T, network, path string, mode os.FileMode) *net.UnixListener {
	t.Helper()
	l, err := net.ListenUnix(network, &net.UnixAddr{Name: path, Net: network})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	if path[0] != '@' {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	return l
}

func TestTake(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	on := listenUnix(t, "unix", path, 0o660)
	tcp, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	var s Sockets
	for _, f := range []*os.File{file(t, on), file(t, tcp)} {
		if err := s.take(f); err != nil {
			t.Fatal(err)
		}
	}
	if len(s.Unix) != 1 || len(s.TCP) != 1 || s.Unix[0].Addr().String() != path || s.TCP[0].Addr().String() != tcp.Addr().String() {
		t.Fatalf("got %+v", s)
	}
	for _, l := range append(s.Unix, s.TCP...) {
		c, err := net.Dial(l.Addr().Network(), l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if a, err := l.Accept(); err != nil {
			t.Error(err)
		} else {
			a.Close()
		}
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	for _, l := range []net.Listener{on, tcp} { // ours, the service manager's
		if c, err := net.Dial(l.Addr().Network(), l.Addr().String()); err != nil {
			t.Errorf("the socket ended with its copy: %v", err)
		} else {
			c.Close()
		}
	}
}

func TestTakeRefuses(t *testing.T) {
	dir := t.TempDir()
	udp, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	tcp, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	connected, err := net.DialTCP("tcp", nil, tcp.Addr().(*net.TCPAddr))
	if err != nil {
		t.Fatal(err)
	}
	defer connected.Close()
	plain, err := os.Create(filepath.Join(dir, "file"))
	if err != nil {
		t.Fatal(err)
	}
	gone := listenUnix(t, "unix", filepath.Join(dir, "gone"), 0o600)
	if err := os.Remove(filepath.Join(dir, "gone")); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		file *os.File
		want string
	}{
		"a socket for everybody": {file(t, listenUnix(t, "unix", filepath.Join(dir, "open"), 0o666)), "SocketMode=0660"},
		"an abstract socket":     {file(t, listenUnix(t, "unix", "@"+filepath.Join(dir, "abstract"), 0)), "abstract"},
		"a socket without path":  {file(t, gone), "no such file"},
		"packets":                {file(t, listenUnix(t, "unixpacket", filepath.Join(dir, "packets"), 0o600)), "ListenStream="},
		"udp":                    {file(t, udp), "ListenStream="},
		"a connection":           {file(t, connected), "ListenStream="},
		"a file":                 {plain, "non-socket"},
	} {
		var s Sockets
		if err := s.take(c.file); err == nil || !strings.Contains(err.Error(), c.want) || s.Unix != nil || s.TCP != nil {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
}
