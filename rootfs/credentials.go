package rootfs

import (
	"encoding/base64"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/gilliam/hypervisor/rootfs/oci"
)

// Credentials are the logins that an operator has for web servers, by origin
// (RFC 6454). They are shown to no other, over no other scheme, and never
// printed or logged. The nil Credentials are none.
type Credentials struct {
	headers map[string]string // origin to the value of Authorization
}

// ParseCredentials reads lines of
//
//	HOST[:PORT] basic USER PASSWORD
//	HOST[:PORT] bearer TOKEN
//
// where http://HOST[:PORT], in place of a host, means a server without TLS: the
// login then goes over the network for everybody to read. Lines that are empty or
// begin with # are left out. The error names the line and does not repeat it.
func ParseCredentials(text string) (*Credentials, error) {
	c := &Credentials{headers: map[string]string{}}
	n := 0
	for line := range strings.Lines(text) {
		n++
		words := strings.Fields(line)
		if len(words) == 0 || strings.HasPrefix(words[0], "#") {
			continue
		}
		var header string
		switch {
		case len(words) == 4 && words[1] == "basic" && !strings.Contains(words[2], ":"):
			header = "Basic " + base64.StdEncoding.EncodeToString([]byte(words[2]+":"+words[3]))
		case len(words) == 3 && words[1] == "bearer":
			header = "Bearer " + words[2]
		default:
			return nil, invalid("line %d: must be HOST basic USER PASSWORD, or HOST bearer TOKEN", n)
		}
		of, err := originOf(words[0])
		switch {
		case err != nil:
			return nil, fmt.Errorf("line %d: %w", n, err)
		case c.headers[of] != "":
			return nil, invalid("line %d: there is a login for that host already", n)
		}
		for _, b := range []byte(header) {
			if b < ' ' || b > '~' {
				return nil, invalid("line %d: a token must be printable ASCII", n)
			}
		}
		c.headers[of] = header
	}
	return c, nil
}

// originOf is the origin that a host in the file of credentials means.
func originOf(host string) (string, error) {
	if !strings.Contains(host, "://") {
		host = "https://" + host
	}
	u, err := url.Parse(host)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" {
		return "", invalid("must begin with a host, such as images.example.com or http://10.0.0.5:8080")
	}
	return siteOf(u), nil
}

// siteOf is scheme, host and port of a URL.
func siteOf(u *url.URL) string {
	port := u.Port()
	switch {
	case port != "":
	case u.Scheme == "http":
		port = "80"
	default:
		port = "443"
	}
	return u.Scheme + "://" + net.JoinHostPort(strings.ToLower(strings.TrimSuffix(u.Hostname(), ".")), port)
}

// Header is the value of Authorization for a request to u; empty: none.
func (c *Credentials) Header(u *url.URL) string {
	if c == nil {
		return ""
	}
	return c.headers[siteOf(u)]
}

// String hides what there is.
func (c *Credentials) String() string { return "(credentials)" }

// GoString hides what there is.
func (c *Credentials) GoString() string { return c.String() }

// LogValue hides what there is.
func (c *Credentials) LogValue() slog.Value { return slog.StringValue(c.String()) }

// A login adds to each request the login for the server that it goes to. The
// client above, which follows redirects, never learns of it, and so cannot carry
// it on.
type login struct {
	of   *Credentials
	next http.RoundTripper
}

func (l *login) RoundTrip(r *http.Request) (*http.Response, error) {
	if header := l.of.Header(r.URL); header != "" {
		r = r.Clone(r.Context())
		r.Header.Set("Authorization", header)
	}
	return l.next.RoundTrip(r)
}

// registry is the login for a registry, by its host or host:port. One for plain
// http is so only where the operator wrote that.
func (c *Credentials) registry(host string) (login oci.Login, ok bool) {
	header := c.Header(&url.URL{Scheme: "https", Host: host})
	if header == "" {
		header, login.Plain = c.Header(&url.URL{Scheme: "http", Host: host}), true
	}
	if token, ok := strings.CutPrefix(header, "Bearer "); ok {
		login.Token = token
		return login, true
	}
	login.User, login.Password, ok = (&http.Request{Header: http.Header{"Authorization": {header}}}).BasicAuth()
	return login, ok
}
