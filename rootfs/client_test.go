package rootfs

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// A nameServer answers every question for an A record with the next of its
// addresses, and every other with none.
func nameServer(t *testing.T, answers ...string) *net.Resolver {
	t.Helper()
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() { pc.Close(); <-done })
	// Ended by the close above, which waits for it.
	go func() {
		defer close(done)
		buf := make([]byte, 1500)
		for next := 0; ; {
			n, from, err := pc.ReadFrom(buf)
			if err != nil {
				return
			}
			end := 12 // of the question: labels, a zero, type, class (RFC 1035)
			for end < n && buf[end] != 0 {
				end += 1 + int(buf[end])
			}
			end += 5
			msg := append([]byte{}, buf[:end]...)
			msg[2], msg[3] = 0x81, 0x80
			binary.BigEndian.PutUint32(msg[8:], 0)
			if binary.BigEndian.Uint16(msg[end-4:]) == 1 {
				binary.BigEndian.PutUint16(msg[6:], 1)
				ip := netip.MustParseAddr(answers[min(next, len(answers)-1)]).As4()
				next++
				msg = append(msg, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4)
				msg = append(msg, ip[:]...)
			}
			pc.WriteTo(msg, from)
		}
	}()
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "udp", pc.LocalAddr().String())
	}}
}

// A name that first leads to an allowed address and then to another: it is the
// second connection that is refused, whatever the first was.
func TestRebinding(t *testing.T) {
	i := newImages(t, ImagesConfig{AllowedNets: prefixes(t, "127.0.0.1/32")})
	i.connect(&net.Dialer{Resolver: nameServer(t, "127.0.0.1", "127.0.0.2")}, time.Minute)
	image := sampleImage(t)
	var asked atomic.Int32
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		w.Header().Set("Connection", "close")
		w.Write(image)
	})
	_, port, _ := net.SplitHostPort(s.Listener.Addr().String())
	if _, err := i.Fetch(context.Background(), Want{Ref: "http://rebind.example:" + port + "/one"}); err != nil {
		t.Fatal(err)
	}
	_, err := i.Fetch(context.Background(), Want{Ref: "http://rebind.example:" + port + "/two"})
	if !errors.Is(err, ErrForbidden) || !strings.Contains(err.Error(), "address 127.0.0.2 is loopback and not allowed") {
		t.Errorf("got %v", err)
	}
	if n := asked.Load(); n != 1 {
		t.Errorf("the server was asked %d times", n)
	}
}

// The same by a redirect, with a name for the address.
func TestRedirectToName(t *testing.T) {
	i := newImages(t, ImagesConfig{AllowedNets: prefixes(t, "127.0.0.1/32")})
	i.connect(&net.Dialer{Resolver: nameServer(t, "169.254.169.254")}, time.Minute)
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://metadata.example/", http.StatusFound)
	})
	_, err := i.Fetch(context.Background(), Want{Ref: s.URL})
	if !errors.Is(err, ErrForbidden) || !strings.Contains(err.Error(), "169.254.169.254 is link-local") {
		t.Errorf("got %v", err)
	}
}

// Without an allowed network, names of this host lead nowhere, and no
// connection is seen.
func TestClientRefusesLoopback(t *testing.T) {
	var conns atomic.Int32
	s := serve(t, func(w http.ResponseWriter, r *http.Request) { conns.Add(1) })
	_, port, _ := net.SplitHostPort(s.Listener.Addr().String())
	c := guard{}.client(&net.Dialer{Resolver: nameServer(t, "127.0.0.1")}, time.Minute, time.Minute)
	for _, url := range []string{"http://localhost:" + port, "http://app.example:" + port, s.URL} {
		resp, err := c.Get(url)
		if err == nil {
			resp.Body.Close()
		}
		if !errors.Is(err, ErrForbidden) {
			t.Errorf("%s: got %v", url, err)
		}
	}
	if n := conns.Load(); n != 0 {
		t.Errorf("%d requests came through", n)
	}
}

func TestNewClient(t *testing.T) {
	var referer atomic.Value
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/from" {
			http.Redirect(w, r, "/to", http.StatusFound)
			return
		}
		referer.Store(r.Header.Get("Referer"))
	})
	c := NewClient(prefixes(t, "127.0.0.0/8", "::1/128"), time.Minute)
	resp, err := c.Get(s.URL + "/from?token=secret")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if got := referer.Load(); got != "" {
		t.Errorf("told the server where it came from: %q", got)
	}
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	if resp, err = c.Get(s.URL + "/from"); err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusFound {
		t.Errorf("followed the redirect: %s", resp.Status)
	}
}
