package rootfs

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
)

func prefixes(t testing.TB, all ...string) []netip.Prefix {
	t.Helper()
	var out []netip.Prefix
	for _, s := range all {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, p)
	}
	return out
}

// The dialer asks with what a name was resolved to: nothing but the address
// counts.
func TestGuardControl(t *testing.T) {
	for _, c := range []struct {
		address string
		allowed []string
		ok      bool
	}{
		{"93.184.216.34:80", nil, true},
		{"[2606:2800:220:1:248:1893:25c8:1946]:443", nil, true},
		{"127.0.0.1:80", nil, false},
		{"127.255.255.254:80", nil, false},
		{"0.0.0.0:80", nil, false},
		{"0.1.2.3:80", nil, false},
		{"10.0.0.1:80", nil, false},
		{"172.16.0.1:80", nil, false},
		{"172.31.255.255:80", nil, false},
		{"172.32.0.1:80", nil, true},
		{"192.168.1.1:80", nil, false},
		{"169.254.169.254:80", nil, false},
		{"100.64.0.1:80", nil, false},
		{"100.127.255.255:80", nil, false},
		{"100.128.0.1:80", nil, true},
		{"192.0.0.192:80", nil, false},
		{"198.18.0.1:80", nil, false},
		{"224.0.0.1:80", nil, false},
		{"255.255.255.255:80", nil, false},
		{"[::]:80", nil, false},
		{"[::1]:80", nil, false},
		{"[::127.0.0.1]:80", nil, false},
		{"[::ffff:127.0.0.1]:80", nil, false},
		{"[::ffff:10.1.2.3]:80", nil, false},
		{"[::ffff:93.184.216.34]:80", nil, true},
		{"[64:ff9b::7f00:1]:80", nil, false},
		{"[64:ff9b::a9fe:a9fe]:80", nil, false},
		{"[64:ff9b::5db8:d822]:80", nil, true},
		{"[64:ff9b:1::1]:80", nil, false},
		{"[2002:7f00:1::]:80", nil, false},
		{"[2002:a00:1::1]:80", nil, false},
		{"[2002:5db8:d822::1]:80", nil, true},
		{"[2001:0:1::1]:80", nil, false},
		{"[fc00::1]:80", nil, false},
		{"[fd00:ec2::254]:80", nil, false},
		{"[fe80::1%eth0]:80", nil, false},
		{"[fec0::1]:80", nil, false},
		{"[ff02::1]:80", nil, false},

		{"127.0.0.1:80", []string{"127.0.0.0/8"}, true},
		{"[::ffff:127.0.0.1]:80", []string{"127.0.0.0/8"}, true},
		{"[64:ff9b::7f00:1]:80", []string{"127.0.0.0/8"}, false},
		{"[::1]:80", []string{"127.0.0.0/8"}, false},
		{"10.0.0.1:80", []string{"127.0.0.0/8", "10.0.0.0/24"}, true},
		{"10.0.1.1:80", []string{"127.0.0.0/8", "10.0.0.0/24"}, false},
		{"not an address", nil, false},
		{"example.com:80", nil, false},
	} {
		network := "tcp4"
		if strings.HasPrefix(c.address, "[") {
			network = "tcp6"
		}
		err := guard{allowed: prefixes(t, c.allowed...)}.control(context.Background(), network, c.address, nil)
		if (err == nil) != c.ok || err != nil && !errors.Is(err, ErrForbidden) {
			t.Errorf("%s with %v: got %v, want ok %v", c.address, c.allowed, err, c.ok)
		}
	}
	if err := (guard{}).control(context.Background(), "udp4", "93.184.216.34:53", nil); !errors.Is(err, ErrForbidden) {
		t.Errorf("udp: got %v", err)
	}
}

// ssrf are URLs that lead, or in some library would lead, to this host or its
// network, or that are no URL for an image at all.
var ssrf = []string{
	"http://127.0.0.1/", "http://127.1/", "http://127.0.1/", "http://2130706433/", "http://0x7f000001/",
	"http://0x7f.0.0.1/", "http://0177.0.0.1/", "http://017700000001/", "http://0/", "http://0.0.0.0/",
	"http://127.0.0.1./", "http://[::1]/", "http://[::]/", "http://[::ffff:127.0.0.1]/", "http://[::ffff:7f00:1]/",
	"http://[0:0:0:0:0:ffff:127.0.0.1]/", "http://[64:ff9b::127.0.0.1]/", "http://[2002:7f00:1::]/",
	"http://169.254.169.254/latest/meta-data/", "http://[fd00:ec2::254]/", "http://[fe80::1%25lo]/",
	"http://10.0.0.1/", "http://192.168.0.1/", "http://172.16.0.1/", "http://100.64.0.1/",
	"http://１２７.0.0.1/", "http://127。0。0。1/", "http://%31%32%37.0.0.1/", "http://127.0.0.1%00.example.com/",
	"http://user@example.com/", "http://user:pw@example.com/", "http://example.com@127.0.0.1/", "http://example.com:80@127.0.0.1/",
	"http://127.0.0.1#@example.com/", `http://example.com\@127.0.0.1/`, "http://example.com:99999999/x", "http:///x", "http:x", "http://", "",
	"file:///etc/passwd", "ftp://example.com/x", "gopher://127.0.0.1:70/_x", "data:,x", "javascript:x", "unix:///run/x.sock",
	"//example.com/x", "example.com/x.tar.gz", "http://exa mple.com/", "http://example.com/\r\nHost: x", "../x", "x",
	"http://" + strings.Repeat("a", 5000) + ".com/",
}

func TestCheckURL(t *testing.T) {
	for _, raw := range ssrf {
		if strings.HasPrefix(raw, "//") {
			continue // a path to Check
		}
		err := CheckURL(raw, nil)
		if !errors.Is(err, ErrInvalid) {
			t.Errorf("%.80q: got %v, want an ErrInvalid", raw, err)
		}
		if err != nil && strings.Contains(err.Error(), "pw") {
			t.Errorf("%q: the error tells the password: %v", raw, err)
		}
	}
	for _, raw := range []string{
		"http://example.com/x.tar.gz", "https://example.com:8443/x?token=1", "HTTP://EXAMPLE.COM", "http://xn--bcher-kva.example/x",
		"http://93.184.216.34/x", "http://[2606:2800:220:1:248:1893:25c8:1946]/x", "http://3com.com/", "http://1.2.3.example/",
		"http://localhost/", // what it leads to is for the dialer to judge
	} {
		if err := CheckURL(raw, nil); err != nil {
			t.Errorf("%q: refused: %v", raw, err)
		}
	}
	if err := CheckURL("http://127.0.0.1:8080/x", prefixes(t, "127.0.0.0/8")); err != nil {
		t.Errorf("allowed address: %v", err)
	}
}

func TestRedact(t *testing.T) {
	for in, want := range map[string]string{
		"https://u:secret@h/p/x.tar.gz?token=secret#secret": "https://h/p/x.tar.gz",
		"https://h/x?":                   "https://h/x",
		"/srv/images/x.tar.gz":           "/srv/images/x.tar.gz",
		"http://h:1/x":                   "http://h:1/x",
		"secret":                         "(invalid URL)",
		"mailto:secret":                  "(invalid URL)",
		"http://h/%zz?secret":            "(invalid URL)",
		"/" + strings.Repeat("x", 10000): "(too long)",
	} {
		if got := Redact(in); got != want {
			t.Errorf("%.80q: got %q, want %q", in, got, want)
		}
	}
}

func FuzzCheckURL(f *testing.F) {
	for _, raw := range ssrf {
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		if CheckURL(raw, nil) == nil && Redact(raw) == "(invalid URL)" {
			t.Errorf("%q is accepted and cannot be shown", raw)
		}
	})
}

func ExampleRedact() {
	fmt.Println(Redact("https://ci.example.com/blog.tar.gz?token=s3cret"))
	// Output: https://ci.example.com/blog.tar.gz
}
