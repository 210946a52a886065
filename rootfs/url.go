package rootfs

import (
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// maxURL bounds a URL: what servers and proxies are known to take.
const maxURL = 4096

// CheckURL checks, without any lookup, that raw is a URL that a client of
// [NewClient] could be asked to go to: http or https, a host, no user name and
// no password, and not plainly an address that the policy forbids. A host name
// that passes can still turn out to lead to one; the client then refuses to
// connect. The error is an [ErrInvalid] and does not repeat the URL.
func CheckURL(raw string, allowed []netip.Prefix) error {
	if len(raw) > maxURL {
		return invalid("must be at most %d bytes long", maxURL)
	}
	u, err := url.Parse(raw)
	if err != nil {
		return invalid("must be a URL like https://example.com/app.tar.gz")
	}
	return guard{allowed: allowed}.checkURL(u)
}

// checkURL is [CheckURL] of a parsed URL, be it a client's or a redirect's.
func (g guard) checkURL(u *url.URL) error {
	host := u.Hostname()
	switch {
	case u.Scheme != "http" && u.Scheme != "https":
		return invalid("must be an http or https URL, not %s", quote(u.Scheme))
	case u.User != nil:
		return invalid("must not hold a user name or a password: they would be seen by others")
	case host == "" || u.Opaque != "":
		return invalid("must have a host, like https://example.com/app.tar.gz")
	}
	if port := u.Port(); port != "" {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return invalid("must have a port from 1 to 65535, or none")
		}
	}
	if addr, err := netip.ParseAddr(host); err == nil {
		if err := g.check(addr); err != nil {
			return invalid("%v", err)
		}
		return nil
	}
	return checkHost(host)
}

// checkHost refuses names that are another spelling of an address: 127.1,
// 2130706433, 0x7f000001, 0177.0.0.1 and the like, which inet_aton(3) would
// take. A top-level domain is never a number (RFC 3696, section 2).
func checkHost(host string) error {
	for i := 0; i < len(host); i++ {
		if c := host[i]; c >= 0x80 || c <= ' ' || c == 0x7f || strings.IndexByte(`%:/\?#@[]`, c) >= 0 {
			return invalid("must have a host name of plain ASCII: write an international name in its xn-- form")
		}
	}
	labels := strings.Split(strings.TrimSuffix(host, "."), ".")
	last := strings.ToLower(labels[len(labels)-1])
	digits := strings.Trim(last, "0123456789") == ""
	if digits || strings.HasPrefix(last, "0x") {
		return invalid("must have a host name or an address written in full: %s is neither", quote(host))
	}
	return nil
}

// Redact is a reference to an image, or any URL, as it may be shown and logged:
// without user name, password, query and fragment, which may hold secrets.
func Redact(ref string) string {
	if len(ref) > maxURL {
		return "(too long)"
	}
	if strings.HasPrefix(ref, "/") {
		return ref
	}
	u, err := url.Parse(ref)
	if err != nil || u.Host == "" {
		return "(invalid URL)"
	}
	u.User, u.RawQuery, u.ForceQuery, u.Fragment, u.RawFragment = nil, "", false, "", ""
	return u.String()
}
