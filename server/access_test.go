package server

import (
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/gilliam/hypervisor/server/proc"
)

const auth = "Bearer " + testToken

func TestToken(t *testing.T) {
	w := newWorld(t)
	insecure := newWorld(t, func(c *Config) { c.InsecureTCP = true })
	none := newWorld(t, func(c *Config) { c.Token = "" })
	tests := []struct {
		name, url, path, header string
		want                    int
	}{
		{"right", w.tcp.URL, "/v1/procs", auth, 200},
		{"right, scheme in lower case", w.tcp.URL, "/v1/procs", "bearer " + testToken, 200},
		{"missing", w.tcp.URL, "/v1/procs", "", 401},
		{"wrong", w.tcp.URL, "/v1/procs", "Bearer wrong", 401},
		{"prefix", w.tcp.URL, "/v1/procs", auth[:len(auth)-1], 401},
		{"longer", w.tcp.URL, "/v1/procs", auth + "x", 401},
		{"basic", w.tcp.URL, "/v1/procs", "Basic " + testToken, 401},
		{"empty", w.tcp.URL, "/v1/procs", "Bearer ", 401},
		{"the original's resource too", w.tcp.URL, "/proc", "", 401},
		{"no route, no token", w.tcp.URL, "/nothing", "", 401},
		{"no route", w.tcp.URL, "/nothing", auth, 404},
		{"below an open route", w.tcp.URL, "/healthz/x", "", 401},
		{"healthz", w.tcp.URL, "/healthz", "", 200},
		{"readyz", w.tcp.URL, "/readyz", "", 200},
		{"metrics", w.tcp.URL, "/metrics", "", 200},
		{"unix socket", w.unix.URL, "/v1/procs", "", 200},
		{"insecure tcp", insecure.tcp.URL, "/v1/procs", "", 200},
		{"no token set, none sent", none.tcp.URL, "/v1/procs", "", 401},
		{"no token set, empty sent", none.tcp.URL, "/v1/procs", "Bearer ", 401},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := call(t, tt.url, "GET", tt.path, "", "Authorization", tt.header)
			if got.StatusCode != tt.want {
				t.Errorf("got %d %s, want %d", got.StatusCode, got.body, tt.want)
			}
			if got.StatusCode == 401 && !strings.HasPrefix(got.Header.Get("WWW-Authenticate"), "Bearer") {
				t.Error("401 without WWW-Authenticate")
			}
		})
	}
}

func TestAllowedHost(t *testing.T) {
	s := New(Config{AllowedHosts: []string{"Node1.example"}, Listen: netip.MustParseAddr("10.0.0.5")})
	local := &net.TCPAddr{IP: net.ParseIP("192.0.2.7"), Port: 9000}
	tests := map[string]bool{
		"localhost": true, "localhost:9000": true, "LOCALHOST": true, "127.0.0.1:9000": true, "127.9.9.9": true, "[::1]:9000": true,
		"10.0.0.5:9000": true, "192.0.2.7": true, "node1.example": true, "NODE1.EXAMPLE:80": true, "[::ffff:127.0.0.1]:1": true,
		"": false, "evil.example": false, "localhost.evil.example": false, "127.0.0.1.evil.example": false, "10.0.0.6": false,
		"0.0.0.0:9000": false, "169.254.169.254": false, "node1.example.": false, "2130706433": false, "127.1": false, "[": false, "a:b:c": false,
	}
	for host, want := range tests {
		if got := s.allowedHost(host, local); got != want {
			t.Errorf("allowedHost(%q) = %v, want %v", host, got, want)
		}
	}
}

// T49, T50: what a browser on this machine can be made to send.
func TestBrowser(t *testing.T) {
	w := newWorld(t)
	tests := []struct {
		name, method, path string
		headers            []string
		want               int
	}{
		{"rebound name", "GET", "/v1/procs", []string{"Host", "evil.example"}, 421},
		{"rebound name, open route", "GET", "/metrics", []string{"Host", "evil.example:9000"}, 421},
		{"other origin", "POST", "/v1/procs", []string{"Origin", "http://evil.example"}, 403},
		{"null origin", "DELETE", "/proc/x", []string{"Origin", "null"}, 403},
		{"cross site", "POST", "/proc", []string{"Sec-Fetch-Site", "cross-site"}, 403},
		{"same site is not same origin", "POST", "/proc", []string{"Sec-Fetch-Site", "same-site"}, 403},
		{"simple post", "POST", "/v1/procs", []string{"Content-Type", "text/plain"}, 415},
		{"form", "POST", "/proc", []string{"Content-Type", "application/x-www-form-urlencoded"}, 415},
		{"preflight", "OPTIONS", "/v1/procs", []string{"Origin", "http://evil.example", "Access-Control-Request-Method", "POST"}, 204},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := call(t, w.tcp.URL, tt.method, tt.path, `{"app":"a"}`, append(tt.headers, "Authorization", auth)...)
			if got.StatusCode != tt.want {
				t.Errorf("got %d %s, want %d", got.StatusCode, got.body, tt.want)
			}
			for h := range got.Header {
				if strings.HasPrefix(h, "Access-Control-") {
					t.Errorf("a CORS header: %s", h)
				}
			}
		})
	}
	if n := len(w.procs.List()); n != 0 {
		t.Errorf("%d procs were made", n)
	}
}

// T42: no id but a UUID reaches the procs.
func TestIDs(t *testing.T) {
	w := newWorld(t)
	p := w.procs.add(proc.Proc{State: proc.Running})
	bad := []string{"..", ".", "", "../x", "..%2fx", "%2e%2e", "a%2fb", "a%00b", strings.Repeat("a", 300), strings.Repeat("a", 20000), "-rf", "a%20b",
		"%C3%A9", "a%0A", "con.lock", strings.ToUpper(p.ID), "%7B" + p.ID + "%7D", "urn:uuid:" + p.ID, strings.ReplaceAll(p.ID, "-", ""), p.ID + "%0A", "%zz"}
	for _, prefix := range []string{"/v1/procs/", "/proc/"} {
		for _, id := range bad {
			for _, method := range []string{"GET", "DELETE"} {
				path := prefix + id
				if strings.Contains(id, "%zz") { // the client would refuse it
					continue
				}
				got := call(t, w.unix.URL, method, path, "")
				if got.StatusCode != 404 && got.StatusCode != 405 && got.StatusCode != 400 && got.StatusCode != 431 {
					t.Errorf("%s %.60s: %d", method, path, got.StatusCode)
				}
			}
		}
	}
	if len(w.procs.calls) != 0 {
		t.Errorf("the procs were asked for %q", w.procs.calls)
	}
}
