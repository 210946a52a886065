package oci

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// ClientConfig says how registries are spoken to.
type ClientConfig struct {
	// Transport makes every request: to the registry, to the server that it sends
	// us to for a token, and to where its blobs are. It judges addresses and does
	// not follow redirects. Required.
	Transport http.RoundTripper

	// Credentials are those for a registry, by its host or host:port. Nil means
	// that there are none.
	Credentials func(registry string) (user, password string, ok bool)

	// PlainHTTP lets a registry that does not answer over https be asked over
	// http; which addresses that may be at is Transport's to say.
	PlainHTTP bool
}

// A Client asks registries. It keeps nothing.
type Client struct {
	cfg       ClientConfig
	transport http.RoundTripper
	options   []name.Option
}

// NewClient makes a Client.
func NewClient(cfg ClientConfig) *Client {
	c := &Client{cfg: cfg, transport: &bounded{cfg.Transport}}
	if cfg.PlainHTTP {
		c.options = append(c.options, name.Insecure)
	}
	return c
}

// reference is r as the library has it.
func (c *Client) reference(r Reference) (name.Reference, error) {
	if r.Digest != "" {
		return c.digest(r)
	}
	return name.NewTag(strings.TrimPrefix(r.String(), Scheme), c.options...)
}

func (c *Client) digest(r Reference) (name.Digest, error) {
	return name.NewDigest(strings.TrimPrefix(r.String(), Scheme), c.options...)
}

// isLoopback tells whether a host is this machine, by its address.
func isLoopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}

func (c *Client) puller() (*remote.Puller, error) {
	return remote.NewPuller(remote.WithTransport(c.transport), remote.WithAuthFromKeychain(keychain{c.cfg.Credentials}),
		remote.WithUserAgent("gilliam-hypervisor"), remote.WithRetryBackoff(remote.Backoff{Duration: time.Second, Factor: 3, Steps: 2}))
}

// Digest is what the reference's tag stands for at this moment. It asks for no
// content.
func (c *Client) Digest(ctx context.Context, r Reference) (string, error) {
	if r.Digest != "" {
		return r.Digest, nil
	}
	ref, err := c.reference(r)
	if err != nil {
		return "", err
	}
	p, err := c.puller()
	if err != nil {
		return "", err
	}
	ctx = withSmallBodies(ctx)
	d, err := p.Head(ctx, ref)
	if err == nil {
		return d.Digest.String(), nil
	}
	// There are registries that do not answer this as they should.
	got, e := p.Get(ctx, ref)
	if e != nil {
		return "", explain(e)
	}
	return got.Digest.String(), nil
}

// A keychain has the operator's credentials, and never those of a user's own
// configuration.
type keychain struct {
	credentials func(string) (string, string, bool)
}

func (k keychain) Resolve(r authn.Resource) (authn.Authenticator, error) {
	if k.credentials == nil {
		return authn.Anonymous, nil
	}
	user, password, ok := k.credentials(r.RegistryStr())
	if !ok {
		return authn.Anonymous, nil
	}
	return &authn.Basic{Username: user, Password: password}, nil
}

// maxSmall bounds every answer but a layer: manifests, configurations, tokens.
const maxSmall = 4 << 20

// maxRedirects is how often one request may be sent elsewhere.
const maxRedirects = 10

type smallKey struct{}

// withSmallBodies bounds the answers to what is asked with the context.
func withSmallBodies(ctx context.Context) context.Context {
	return context.WithValue(ctx, smallKey{}, true)
}

// bounded keeps answers and redirects within bounds, and a password off the wire
// where everybody reads it.
type bounded struct{ inner http.RoundTripper }

func (b *bounded) RoundTrip(req *http.Request) (*http.Response, error) {
	hops := 0
	for via := req.Response; via != nil && via.Request != nil; via = via.Request.Response {
		if hops++; hops > maxRedirects {
			return nil, fmt.Errorf("more than %d redirects", maxRedirects)
		}
	}
	if _, _, basic := req.BasicAuth(); basic && req.URL.Scheme != "https" && !isLoopback(req.URL.Hostname()) {
		return nil, errors.New("the registry has credentials, which are not sent over plain http: give it a certificate")
	}
	resp, err := b.inner.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	if req.Context().Value(smallKey{}) != nil {
		resp.Body = &smallBody{resp.Body, maxSmall}
	}
	return resp, nil
}

// A smallBody ends with an error where it is larger than it may be.
type smallBody struct {
	io.ReadCloser
	left int64
}

func (s *smallBody) Read(p []byte) (int, error) {
	n, err := s.ReadCloser.Read(p)
	if s.left -= int64(n); s.left < 0 {
		return 0, fmt.Errorf("the registry's answer is longer than %d bytes", maxSmall)
	}
	return n, err
}

// An unreachable is what went wrong before a registry could answer.
type unreachable struct{ error }

func (u *unreachable) Is(target error) bool { return target == ErrUnreachable }
func (u *unreachable) Unwrap() error        { return u.error }

// explain says what a registry's error means. What its answer says is a stranger's,
// but for the code, of which there are few.
func explain(err error) error {
	var te *transport.Error
	if !errors.As(err, &te) {
		return &unreachable{err}
	}
	for _, d := range te.Errors {
		switch d.Code {
		case transport.ManifestUnknownErrorCode, transport.NameUnknownErrorCode, transport.BlobUnknownErrorCode:
			return &kindError{ErrNotExist, "the registry has no such image: check the name and the tag"}
		}
	}
	switch code := te.StatusCode; {
	case code == http.StatusNotFound:
		return &kindError{ErrNotExist, "the registry has no such image: check the name and the tag"}
	case code == http.StatusUnauthorized || code == http.StatusForbidden:
		return fmt.Errorf("%d %s: the registry wants a login, or has no such image: check the name, or have the operator give credentials", code, http.StatusText(code))
	case code == http.StatusTooManyRequests || code >= 500:
		return &kindError{ErrUnreachable, fmt.Sprintf("%d %s: the registry has a problem; try again later", code, http.StatusText(code))}
	}
	return fmt.Errorf("%d %s: the registry does not give out the image", te.StatusCode, http.StatusText(te.StatusCode))
}
