package rootfs

import (
	"context"
	"fmt"
	"net/netip"
	"syscall"
)

// A guard decides which addresses may be connected to. It judges addresses and
// not names: a name is resolved by someone else, and differently each time.
type guard struct {
	allowed []netip.Prefix
	only    bool // not even public addresses but those
}

// special are the blocks that are no one's public address, from the IANA
// registries of special-purpose addresses (RFC 6890 and its updates).
var special = []struct {
	prefix netip.Prefix
	what   string
}{
	{netip.MustParsePrefix("0.0.0.0/8"), "this host (RFC 1122)"},
	{netip.MustParsePrefix("10.0.0.0/8"), "private (RFC 1918)"},
	{netip.MustParsePrefix("100.64.0.0/10"), "shared by carriers (RFC 6598)"},
	{netip.MustParsePrefix("127.0.0.0/8"), "loopback"},
	{netip.MustParsePrefix("169.254.0.0/16"), "link-local (RFC 3927)"},
	{netip.MustParsePrefix("172.16.0.0/12"), "private (RFC 1918)"},
	{netip.MustParsePrefix("192.0.0.0/24"), "reserved for protocols (RFC 6890)"},
	{netip.MustParsePrefix("192.0.2.0/24"), "for documentation (RFC 5737)"},
	{netip.MustParsePrefix("192.88.99.0/24"), "a 6to4 relay (RFC 7526)"},
	{netip.MustParsePrefix("192.168.0.0/16"), "private (RFC 1918)"},
	{netip.MustParsePrefix("198.18.0.0/15"), "for benchmarks (RFC 2544)"},
	{netip.MustParsePrefix("198.51.100.0/24"), "for documentation (RFC 5737)"},
	{netip.MustParsePrefix("203.0.113.0/24"), "for documentation (RFC 5737)"},
	{netip.MustParsePrefix("224.0.0.0/4"), "multicast"},
	{netip.MustParsePrefix("240.0.0.0/4"), "reserved or broadcast"},

	{netip.MustParsePrefix("::1/128"), "loopback"},
	{netip.MustParsePrefix("::/96"), "unspecified or IPv4-compatible (RFC 4291)"},
	{netip.MustParsePrefix("64:ff9b:1::/48"), "local translation (RFC 8215)"},
	{netip.MustParsePrefix("100::/64"), "discarded (RFC 6666)"},
	{netip.MustParsePrefix("2001::/23"), "reserved for protocols, Teredo among them (RFC 2928)"},
	{netip.MustParsePrefix("2001:db8::/32"), "for documentation (RFC 3849)"},
	{netip.MustParsePrefix("3fff::/20"), "for documentation (RFC 9637)"},
	{netip.MustParsePrefix("5f00::/16"), "for segment routing (RFC 9602)"},
	{netip.MustParsePrefix("fc00::/7"), "private (RFC 4193)"},
	{netip.MustParsePrefix("fe80::/10"), "link-local"},
	{netip.MustParsePrefix("fec0::/10"), "site-local (RFC 3879)"},
	{netip.MustParsePrefix("ff00::/8"), "multicast"},
}

// The blocks whose addresses carry an IPv4 address, which is where the packets
// end up.
var (
	nat64  = netip.MustParsePrefix("64:ff9b::/96") // RFC 6052: the last four bytes
	sixTo4 = netip.MustParsePrefix("2002::/16")    // RFC 3056: bytes 2 to 5
)

// check refuses an address that the policy forbids, with an [ErrForbidden].
func (g guard) check(addr netip.Addr) error {
	addr = addr.WithZone("").Unmap()
	for _, p := range g.allowed {
		if p.Contains(addr) {
			return nil
		}
	}
	if g.only {
		return &kindError{ErrForbidden, fmt.Sprintf("address %v is asked over plain http, which is for networks that the operator allows: "+
			"use https, or have the operator allow this network", addr)}
	}
	inner := addr
	if b := addr.As16(); nat64.Contains(addr) {
		inner = netip.AddrFrom4([4]byte(b[12:16]))
	} else if sixTo4.Contains(addr) {
		inner = netip.AddrFrom4([4]byte(b[2:6]))
	}
	for _, s := range special {
		if s.prefix.Contains(inner) {
			return &kindError{ErrForbidden, fmt.Sprintf("address %v is %s and not allowed: "+
				"use a public address, or have the operator allow this network", addr, s.what)}
		}
	}
	return nil
}

// control is called by the dialer with the very address that it is about to
// connect to, after the name was resolved: net.Dialer.ControlContext. Whatever
// a name, a redirect or an odd spelling of an address leads to passes here.
func (g guard) control(_ context.Context, network, address string, _ syscall.RawConn) error {
	if network != "tcp4" && network != "tcp6" {
		return &kindError{ErrForbidden, "network " + network + " is not TCP"}
	}
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return &kindError{ErrForbidden, "address " + quote(address) + " is not an IP address"}
	}
	return g.check(ap.Addr())
}
