package rootfs

import (
	"net"
	"net/http"
	"time"
)

// transport makes the requests to registries, to their token servers and to where
// their blobs are. Each is held to the policy, and one over plain http to networks
// that the operator allows.
func (g guard) transport(d *net.Dialer, headers time.Duration) http.RoundTripper {
	secure, plain := *d, *d
	return &registryTransport{
		guard:  g,
		secure: g.client(&secure, 0, headers).Transport,
		plain:  guard{allowed: g.allowed, only: true}.client(&plain, 0, headers).Transport,
	}
}

type registryTransport struct {
	guard         guard
	secure, plain http.RoundTripper
}

func (t *registryTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := t.guard.checkURL(req.URL); err != nil {
		return nil, &redirectError{&kindError{ErrForbidden, err.Error()}}
	}
	if req.Header.Get("Referer") != "" { // it would hand one server's query to another
		req = req.Clone(req.Context())
		req.Header.Del("Referer")
	}
	if req.URL.Scheme == "http" {
		return t.plain.RoundTrip(req)
	}
	return t.secure.RoundTrip(req)
}
