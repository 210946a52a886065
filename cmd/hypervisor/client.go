package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"github.com/gilliam/hypervisor/server"
	"github.com/gilliam/hypervisor/server/proc"
)

// A clientConfig says where the daemon is.
type clientConfig struct {
	stateDir  string
	socket    string // empty: the state folder's own
	url       string // instead of the socket
	tokenFile string // empty: the state folder's own
}

func (c *clientConfig) flags(f *pflag.FlagSet) {
	f.SortFlags = false
	add(f, &c.stateDir, "state-dir", defaultStateDir, "DIR", "state folder of the daemon", parsePath)
	add(f, &c.socket, "socket", "", "PATH", "unix socket of the daemon (default "+defaultSocket(defaultStateDir)+", or STATE-DIR/"+socketName+" with another STATE-DIR)", parseMaybePath)
	add(f, &c.url, "url", "", "URL", "address of the daemon, such as http://127.0.0.1:9000, in place of the socket", parseURL)
	add(f, &c.tokenFile, "token-file", "", "FILE", "file with the token for --url (default STATE-DIR/token)", parseMaybePath)
	twin(f, "state-dir", "GILLIAM_STATE_DIR")
	twin(f, "socket", "GILLIAM_SOCKET")
	twin(f, "url", "GILLIAM_URL")
	twin(f, "token-file", "GILLIAM_TOKEN_FILE")
}

func parseURL(s string) (string, error) {
	if s == "" {
		return "", nil
	}
	u, err := url.Parse(s)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" {
		return "", errors.New("must be the address of a daemon, such as http://127.0.0.1:9000")
	}
	return u.Scheme + "://" + u.Host, nil
}

// A client speaks the API.
type client struct {
	cfg  clientConfig
	base string
	http *http.Client
}

// newClient does not connect.
func newClient(cfg clientConfig) *client {
	if cfg.url != "" {
		if cfg.tokenFile == "" {
			cfg.tokenFile = cfg.stateDir + "/token"
		}
		return &client{cfg: cfg, base: cfg.url, http: &http.Client{Transport: &http.Transport{}, CheckRedirect: noRedirect}}
	}
	if cfg.socket == "" {
		cfg.socket = defaultSocket(cfg.stateDir)
	}
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", cfg.socket)
	}
	return &client{cfg: cfg, base: "http://hypervisor", http: &http.Client{Transport: &http.Transport{DialContext: dial}, CheckRedirect: noRedirect}}
}

// noRedirect keeps the token from going elsewhere.
func noRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// An apiError is an answer that is not a success.
type apiError struct{ server.Problem }

func (e *apiError) Error() string {
	if e.Detail == "" {
		return fmt.Sprintf("the daemon answered %d %s", e.Status, http.StatusText(e.Status))
	}
	return e.Detail
}

// do sends a request and gives the answer; the caller closes its body.
func (c *client) do(ctx context.Context, method, path string, body any, accept string) (*http.Response, error) {
	var r io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		r = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, r)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", accept)
	req.Header.Set("User-Agent", "hypervisor/"+version)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.cfg.url != "" {
		token, err := readToken(c.cfg.tokenFile)
		if err != nil {
			return nil, tokenError(err)
		}
		req.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := c.http.Do(req)
	if err != nil {
		return nil, c.explain(err)
	}
	if res.StatusCode >= 300 {
		defer res.Body.Close()
		e := &apiError{server.Problem{Status: res.StatusCode}}
		b, _ := io.ReadAll(io.LimitReader(res.Body, 64<<10))
		if json.Unmarshal(b, &e.Problem) != nil || e.Status != res.StatusCode {
			e.Problem = server.Problem{Status: res.StatusCode}
		}
		return nil, e
	}
	return res, nil
}

func tokenError(err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("%w: a token is needed for --url: name its file with --token-file, or put sudo in front", err)
	}
	return err
}

// explain says what to do when the daemon cannot be reached.
func (c *client) explain(err error) error {
	where := c.cfg.socket
	if c.cfg.url != "" {
		where = c.cfg.url
	}
	switch {
	case errors.Is(err, unix.ENOENT) && c.cfg.url == "", errors.Is(err, unix.ECONNREFUSED):
		return fmt.Errorf("no daemon answers at %s: start it with \"sudo hypervisor serve\", or say where it is with --socket or --url", where)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%s: permission denied: put sudo in front, or become a member of the group %s", where, socketGroup)
	}
	return err
}

// call sends a request and decodes the answer into out, unless that is nil.
func (c *client) call(ctx context.Context, method, path string, body, out any) (status int, err error) {
	res, err := c.do(ctx, method, path, body, "application/json")
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	if out == nil {
		_, err = io.Copy(io.Discard, res.Body)
	} else {
		err = json.NewDecoder(res.Body).Decode(out)
	}
	if err != nil {
		return 0, fmt.Errorf("answer of %s %s: %w", method, path, err)
	}
	return res.StatusCode, nil
}

func (c *client) create(ctx context.Context, req proc.Request) (p proc.Proc, err error) {
	_, err = c.call(ctx, http.MethodPost, "/v1/procs", req, &p)
	return p, err
}

func (c *client) get(ctx context.Context, id string) (p proc.Proc, err error) {
	_, err = c.call(ctx, http.MethodGet, "/v1/procs/"+url.PathEscape(id), nil, &p)
	return p, err
}

// wait waits for the proc's end, or for it to be listening too.
func (c *client) wait(ctx context.Context, id, what string) (p proc.Proc, err error) {
	for {
		status, err := c.call(ctx, http.MethodGet, "/v1/procs/"+url.PathEscape(id)+"/wait?timeout=60s&for="+what, nil, &p)
		if err != nil || status == http.StatusOK {
			return p, err
		}
	}
}

func (c *client) stop(ctx context.Context, id string, grace time.Duration) (p proc.Proc, err error) {
	_, err = c.call(ctx, http.MethodPost, "/v1/procs/"+url.PathEscape(id)+"/stop"+graceQuery(grace), nil, &p)
	return p, err
}

func (c *client) remove(ctx context.Context, id string, grace time.Duration) error {
	_, err := c.call(ctx, http.MethodDelete, "/v1/procs/"+url.PathEscape(id)+graceQuery(grace), nil, nil)
	return err
}

func graceQuery(grace time.Duration) string {
	if grace < 0 {
		return ""
	}
	return "?grace=" + grace.String()
}
