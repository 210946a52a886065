package service

import (
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the golden files anew")

// The units as they are, word for word: each line has a reason.
func TestUnit(t *testing.T) {
	u := Unit{
		Binary: "/usr/local/bin/hypervisor", Args: []string{"--max-procs=200", "--image-dir=/srv/my images"},
		StateDir: "/var/lib/gilliam", Socket: "/run/gilliam/hypervisor.sock", Group: "gilliam",
		TCP: netip.MustParseAddrPort("127.0.0.1:9000"), Stop: 48 * time.Second,
	}
	golden(t, ServiceName, u.Service())
	golden(t, SocketName, u.SocketUnit())
	u.Group, u.TCP = "", netip.MustParseAddrPort("[2001:db8::1]:9000")
	golden(t, "public.socket", u.SocketUnit())
	u.TCP = netip.AddrPortFrom(u.TCP.Addr(), 0)
	golden(t, "unix.socket", u.SocketUnit())
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if want, err := os.ReadFile(path); err != nil || got != string(want) {
		t.Errorf("%s: %v; got (go test -update writes it anew)\n%s", name, err, got)
	}
}

func TestQuote(t *testing.T) {
	for s, want := range map[string]string{
		"":               `""`,
		"--port=9000":    "--port=9000",
		"a b":            `"a b"`,
		`a"b\c`:          `"a\"b\\c"`,
		"it's":           `"it's"`,
		";":              `";"`,
		"$HOME":          "$HOME", // the : before the command keeps it
		"100%u":          "100%%u",
		"a\nExecStart=b": `"a\x0aExecStart=b"`,
		"ü":              "ü",
	} {
		if got := quote(s); got != want {
			t.Errorf("%q: got %s, want %s", s, got, want)
		}
	}
}
