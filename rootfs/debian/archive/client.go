package archive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"time"
)

// A Client fetches files of archives, and keeps them.
type Client struct {
	dir  string // the cache: files named by their SHA-256
	http *http.Client
	auth Logins
	wait func(context.Context, time.Duration) error // between two tries; tests change it
}

// A File is one of an archive.
type File struct {
	URL    string
	Size   int64
	SHA256 string
}

// A Progress is told of bytes that have come, or, negative, that came for nothing.
// It is called by several goroutines at once. Nil tells no one.
type Progress func(bytes int64)

func (p Progress) add(n int64) {
	if p != nil {
		p(n)
	}
}

const (
	connectTimeout = 10 * time.Second
	stallTimeout   = 30 * time.Second // without a byte
	tries          = 4
	firstPause     = 500 * time.Millisecond
)

// NewClient keeps what it fetches in dir, which it makes, open to its owner alone.
// Proxies are apt's; the environment's count where apt names none.
func NewClient(dir string, proxies Proxies, auth Logins) (*Client, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	transport := &http.Transport{
		Proxy:       proxies.For,
		DialContext: (&net.Dialer{Timeout: connectTimeout}).DialContext,
		// The files are compressed, and hashes are of them as they are.
		DisableCompression:    true,
		TLSHandshakeTimeout:   connectTimeout,
		ResponseHeaderTimeout: stallTimeout,
		MaxIdleConnsPerHost:   16,
		IdleConnTimeout:       stallTimeout,
	}
	return &Client{dir: dir, http: &http.Client{Transport: transport}, auth: auth, wait: pause}, nil
}

// Close closes idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// read is the content of a small file that is not kept.
func (c *Client) read(ctx context.Context, address string, most int64) (b []byte, err error) {
	err = c.try(ctx, func(ctx context.Context) error {
		resp, err := c.get(ctx, address, 0)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		b, err = io.ReadAll(io.LimitReader(resp.Body, most+1))
		if err == nil && int64(len(b)) > most {
			err = &finalError{fmt.Errorf("longer than %d bytes", most)}
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("get %s: %w", Redact(address), err)
	}
	return b, nil
}

// get asks for what address has from a byte on.
func (c *Client) get(ctx context.Context, address string, from int64) (*http.Response, error) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, &finalError{errors.New("must be an http or https URL")}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, &finalError{err}
	}
	if user, password, ok := c.auth.For(u); ok && u.User == nil {
		req.SetBasicAuth(user, password)
	}
	req.Header.Set("User-Agent", "gilliam-hypervisor")
	if from > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", from))
	}
	resp, err := c.http.Do(req)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err // without the URL, which may hold a password
		}
		return nil, err
	}
	if resp.StatusCode == http.StatusOK || from > 0 && resp.StatusCode == http.StatusPartialContent {
		return resp, nil
	}
	resp.Body.Close()
	return nil, &statusError{resp.StatusCode}
}

// try does f until it succeeds, with pauses, unless its error will not go away.
func (c *Client) try(ctx context.Context, f func(context.Context) error) error {
	wait := firstPause
	for n := 1; ; n++ {
		err := f(ctx)
		if err == nil || n == tries || ctx.Err() != nil || !passing(err) {
			return err
		}
		if e := c.wait(ctx, wait); e != nil {
			return err
		}
		wait *= 4
	}
}

// pause waits, unless ctx ends.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// A statusError is an answer that is no success.
type statusError struct{ code int }

func (e *statusError) Error() string {
	return fmt.Sprintf("the server answered %d %s", e.code, http.StatusText(e.code))
}

func isStatus(err error, code int) bool {
	var s *statusError
	return errors.As(err, &s) && s.code == code
}

// A finalError is one that another try would meet again.
type finalError struct{ error }

func (e *finalError) Unwrap() error { return e.error }

// passing tells whether another try may help.
func passing(err error) bool {
	var s *statusError
	var f *finalError
	switch {
	case errors.As(err, &f):
		return false
	case errors.As(err, &s):
		return s.code >= 500 || s.code == http.StatusRequestTimeout || s.code == http.StatusTooManyRequests
	}
	var dns *net.DNSError
	return !errors.As(err, &dns) || !dns.IsNotFound
}

// Redact is a URL without a password, to be shown.
func Redact(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return "a URL that cannot be read"
	}
	u.User = nil
	return u.String()
}
