package oci

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// ClientConfig says how registries are spoken to.
type ClientConfig struct {
	// Transport makes every request: to the registry, to the server that it sends
	// us to for a token, and to where its blobs are. It judges addresses and does
	// not follow redirects. Required.
	Transport http.RoundTripper

	// Login is the operator's for a registry, by its host or host:port. Nil means
	// that there are none.
	Login func(registry string) (Login, bool)

	// PlainHTTP lets a registry that does not answer over https be asked over
	// http; which addresses that may be at is Transport's to say.
	PlainHTTP bool
}

// A Login is what a registry, or the token server that it names, is shown.
type Login struct {
	User, Password string
	Token          string // in place of them
	Plain          bool   // also where everybody on the way reads it
}

// A Client asks registries. It keeps nothing.
type Client struct{ cfg ClientConfig }

// NewClient makes a Client.
func NewClient(cfg ClientConfig) *Client { return &Client{cfg} }

// Repository logs in where the reference's image and its layers are.
func (c *Client) Repository(ctx context.Context, r Reference) (*Repository, error) {
	var options []name.Option
	if c.cfg.PlainHTTP {
		options = append(options, name.Insecure)
	}
	repo, err := name.NewRepository(r.Registry+"/"+r.Repository, options...)
	if err != nil {
		return nil, invalid("no repository: %v", err)
	}
	auth, inner := authn.Anonymous, &bounded{inner: c.cfg.Transport}
	if c.cfg.Login != nil {
		if login, ok := c.cfg.Login(r.Registry); ok {
			auth = authn.FromConfig(authn.AuthConfig{Username: login.User, Password: login.Password, RegistryToken: login.Token})
			inner.plain = login.Plain
		}
	}
	t, err := transport.NewWithContext(withSmallBodies(ctx), repo.Registry, auth, transport.NewUserAgent(inner, "gilliam-hypervisor"),
		[]string{repo.Scope(transport.PullScope)})
	if err != nil {
		return nil, explain(err)
	}
	return &Repository{ref: r, scheme: repo.Scheme(), client: &http.Client{Transport: t}}, nil
}

// maxSmall bounds every answer but a layer: manifests, configurations, tokens.
const maxSmall = 4 << 20

type smallKey struct{}

// withSmallBodies bounds the answers to what is asked with the context.
func withSmallBodies(ctx context.Context) context.Context {
	return context.WithValue(ctx, smallKey{}, true)
}

// bounded keeps answers within bounds, and a login off the wire where everybody
// reads it.
type bounded struct {
	inner http.RoundTripper
	plain bool // the login may be read by everybody
}

func (b *bounded) RoundTrip(req *http.Request) (*http.Response, error) {
	if _, _, basic := req.BasicAuth(); basic && req.URL.Scheme != "https" && !b.plain {
		return nil, errors.New("the login is not sent over plain http: give the registry a certificate, or have the operator write http:// before it")
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
