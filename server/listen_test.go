package server

import (
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

func TestListenUnix(t *testing.T) {
	g, err := user.LookupGroupId(strconv.Itoa(os.Getgid()))
	if err != nil {
		t.Fatal(err)
	}
	for group, want := range map[string]os.FileMode{"no-such-group": 0o600, "": 0o600, g.Name: 0o660} {
		path := filepath.Join(t.TempDir(), "s")
		l, err := ListenUnix(path, group)
		if err != nil {
			t.Fatal(err)
		}
		st, err := os.Stat(path)
		if err != nil || st.Mode().Perm() != want || int(st.Sys().(*syscall.Stat_t).Gid) != os.Getgid() {
			t.Errorf("group %q: got %v, %v", group, st.Mode(), err)
		}
		if _, err := ListenUnix(path, group); err == nil || !strings.Contains(err.Error(), "another program answers") {
			t.Errorf("a second one: %v", err)
		}
		l.Close()
		if _, err := os.Lstat(path); !os.IsNotExist(err) {
			t.Errorf("left behind: %v", err)
		}
	}
}

func TestListenUnixReplacesOnlyAStaleSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	stale, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	stale.SetUnlinkOnClose(false)
	stale.Close()
	l, err := ListenUnix(path, "")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()

	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ListenUnix(path, ""); err == nil || !strings.Contains(err.Error(), "not a socket") {
		t.Errorf("got %v", err)
	}
	if b, _ := os.ReadFile(path); string(b) != "precious" {
		t.Error("the file was touched")
	}
	if _, err := ListenUnix(strings.Repeat("x", 108), ""); err == nil || !strings.Contains(err.Error(), "107") {
		t.Errorf("a long path: %v", err)
	}
}
