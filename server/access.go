package server

import (
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"
)

// authenticate lets a TCP request in when its route is open or it carries the
// token.
func (s *Server) authenticate(next echo.HandlerFunc) echo.HandlerFunc {
	want := sha256.Sum256([]byte(s.cfg.Token))
	return func(c echo.Context) error {
		if s.cfg.InsecureTCP || s.open[c.Path()] || carries(c.Request(), want) {
			return next(c)
		}
		return ErrUnauthorized
	}
}

// carries compares hashes, so that neither the token's bytes nor its length
// can be told from how long it takes.
func carries(r *http.Request, want [sha256.Size]byte) bool {
	values := r.Header.Values(echo.HeaderAuthorization)
	if len(values) != 1 {
		return false
	}
	scheme, token, _ := strings.Cut(values[0], " ")
	got := sha256.Sum256([]byte(strings.TrimSpace(token)))
	return strings.EqualFold(scheme, "Bearer") && subtle.ConstantTimeCompare(got[:], want[:]) == 1
}

// checkHost refuses what a browser was tricked into sending here by a name
// that resolves to this machine (DNS rebinding).
func (s *Server) checkHost(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		r := c.Request()
		local, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
		if !s.allowedHost(r.Host, local) {
			return ErrHost
		}
		return next(c)
	}
}

// allowedHost tells whether hostport is a name or an address of this server:
// loopback, what it listens on, what the connection came to, or configured.
func (s *Server) allowedHost(hostport string, local net.Addr) bool {
	host := hostport
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		host = h
	}
	host = strings.ToLower(strings.TrimSuffix(strings.TrimPrefix(host, "["), "]"))
	if host == "" {
		return false
	}
	if slices.ContainsFunc(s.cfg.AllowedHosts, func(a string) bool { return strings.EqualFold(a, host) }) {
		return true
	}
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return host == "localhost"
	}
	addr = addr.Unmap().WithZone("")
	if addr.IsLoopback() || s.cfg.Listen.IsValid() && addr == s.cfg.Listen.Unmap() && !addr.IsUnspecified() {
		return true
	}
	tcp, ok := local.(*net.TCPAddr)
	return ok && tcp.AddrPort().Addr().Unmap().WithZone("") == addr
}

// crossOrigin refuses what a browser sends here for another site.
func (s *Server) crossOrigin(next echo.HandlerFunc) echo.HandlerFunc {
	protection := http.NewCrossOriginProtection()
	return func(c echo.Context) error {
		if err := protection.Check(c.Request()); err != nil {
			return fmt.Errorf("%w (%v)", ErrCrossOrigin, err)
		}
		return next(c)
	}
}
