package rootfs

import (
	"errors"
	"net"
	"net/http"
	"net/netip"
	"time"
)

const (
	maxRedirects   = 10
	maxHeaderBytes = 32 << 10
	dialTimeout    = 10 * time.Second
	stallTimeout   = 30 * time.Second
)

// NewClient is an HTTP client for URLs that strangers choose. Every address it
// is about to connect to is judged after the name was resolved: loopback,
// private, link-local and other special addresses are refused with an
// [ErrForbidden] unless allowed holds them. It uses no proxy, keeps to http and
// https, follows at most 10 redirects and tells no server where it comes from.
// A timeout of 0 means none.
//
// A caller that must not follow redirects sets CheckRedirect to a function that
// returns [http.ErrUseLastResponse].
func NewClient(allowed []netip.Prefix, timeout time.Duration) *http.Client {
	return guard{allowed: allowed}.client(&net.Dialer{}, timeout, stallTimeout)
}

// client builds the client around a dialer, whose resolver tests choose.
func (g guard) client(d *net.Dialer, timeout, headers time.Duration) *http.Client {
	d.Timeout = dialTimeout
	d.ControlContext = g.control
	return &http.Client{
		Timeout:       timeout,
		CheckRedirect: g.checkRedirect,
		Transport: &http.Transport{
			Proxy:                  nil, // a proxy would connect on our behalf, past the guard
			DialContext:            d.DialContext,
			ForceAttemptHTTP2:      true,
			DisableCompression:     true, // the bytes as they are: an image is gzip already
			MaxResponseHeaderBytes: maxHeaderBytes,
			ResponseHeaderTimeout:  headers,
			TLSHandshakeTimeout:    dialTimeout,
			// One connection a request: each is judged anew, and no server can
			// go on talking to us, or hold a descriptor, when it is over.
			DisableKeepAlives: true,
		},
	}
}

// checkRedirect holds each redirect to the rules of the first URL.
func (g guard) checkRedirect(req *http.Request, via []*http.Request) error {
	if len(via) > maxRedirects {
		return errors.New("more than 10 redirects")
	}
	// The Referer would hand the query of the first URL to another server.
	req.Header.Del("Referer")
	if err := g.checkURL(req.URL); err != nil {
		return &redirectError{err}
	}
	return nil
}

// A redirectError is a redirect to where we do not go.
type redirectError struct{ err error }

func (e *redirectError) Error() string { return "redirected to a URL that " + e.err.Error() }
func (e *redirectError) Unwrap() error { return e.err }
