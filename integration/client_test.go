//go:build integration

package integration

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gilliam/hypervisor/integration/testbed"
	"github.com/gilliam/hypervisor/server"
	"github.com/gilliam/hypervisor/server/proc"
)

// A client speaks the API for a test. What goes wrong fails the test.
type client struct {
	tb    testing.TB
	http  *http.Client
	base  string
	token string // none: not sent
}

// onSocket is a client of the daemon on a unix socket.
func onSocket(tb testing.TB, path string) *client {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}
	return &client{tb: tb, base: "http://hypervisor", http: &http.Client{Transport: &http.Transport{DialContext: dial}}}
}

// onTCP is a client of the daemon on a TCP address.
func onTCP(tb testing.TB, addr, token string) *client {
	c := &client{tb: tb, base: "http://" + addr, token: token, http: &http.Client{Transport: &http.Transport{}}}
	tb.Cleanup(c.http.CloseIdleConnections)
	return c
}

// in is the client for a subtest.
func (c client) in(tb testing.TB) *client {
	c.tb = tb
	return &c
}

// An answer is a whole one, or why there is none.
type answer struct {
	status int
	header http.Header
	body   string
	err    error
}

func (a answer) String() string {
	if a.err != nil {
		return a.err.Error()
	}
	return fmt.Sprintf("%d %s", a.status, a.body)
}

// do sends a request, with body as its JSON unless that is nil, and headers as
// pairs of name and value.
func (c *client) do(method, path string, body any, headers ...string) answer {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	res, err := c.send(ctx, method, path, body, headers...)
	if err != nil {
		return answer{err: err}
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return answer{res.StatusCode, res.Header, string(b), err}
}

func (c *client) send(ctx context.Context, method, path string, body any, headers ...string) (*http.Response, error) {
	var content io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		content = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, content)
	if err != nil {
		return nil, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	for n := 0; n < len(headers); n += 2 {
		req.Header.Set(headers[n], headers[n+1])
	}
	req.Host = req.Header.Get("Host") // empty: the URL's
	return c.http.Do(req)
}

// want sends a request that must be answered with a status, and decodes the
// answer into out unless that is nil.
func (c *client) want(status int, method, path string, body, out any) answer {
	c.tb.Helper()
	a := c.do(method, path, body)
	if a.status != status {
		c.tb.Fatalf("%s %s: got %s, want %d", method, path, a, status)
	}
	if out != nil {
		if err := json.Unmarshal([]byte(a.body), out); err != nil {
			c.tb.Fatalf("%s %s: %v in %s", method, path, err, a.body)
		}
	}
	return a
}

// create makes a proc. App and name are filled in where they are not given.
func (c *client) create(r proc.Request) proc.Proc {
	c.tb.Helper()
	if r.App == "" {
		r.App = "blog"
	}
	if r.Name == "" {
		r.Name = "web.1"
	}
	var p proc.Proc
	a := c.want(http.StatusCreated, http.MethodPost, "/v1/procs", r, &p)
	if got, want := a.header.Get("Location"), "/v1/procs/"+p.ID; got != want {
		c.tb.Errorf("Location: got %q, want %q", got, want)
	}
	return p
}

func (c *client) get(id string) (p proc.Proc) {
	c.tb.Helper()
	c.want(http.StatusOK, http.MethodGet, "/v1/procs/"+id, nil, &p)
	return p
}

func (c *client) list(query string) []proc.Proc {
	c.tb.Helper()
	var l server.ProcList
	c.want(http.StatusOK, http.MethodGet, "/v1/procs"+query, nil, &l)
	return l.Procs
}

// wait returns the proc when it has ended.
func (c *client) wait(id string) (p proc.Proc) {
	c.tb.Helper()
	c.want(http.StatusOK, http.MethodGet, "/v1/procs/"+id+"/wait?timeout="+patience.String(), nil, &p)
	return p
}

// run makes a proc and returns it when it has ended.
func (c *client) run(r proc.Request) proc.Proc {
	c.tb.Helper()
	return c.wait(c.create(r).ID)
}

func (c *client) stopProc(id, query string) (p proc.Proc) {
	c.tb.Helper()
	c.want(http.StatusOK, http.MethodPost, "/v1/procs/"+id+"/stop"+query, nil, &p)
	return p
}

// remove disposes of a proc without giving it any time.
func (c *client) remove(id string) {
	c.tb.Helper()
	c.want(http.StatusNoContent, http.MethodDelete, "/v1/procs/"+id+"?grace=0s", nil, nil)
	c.want(http.StatusNotFound, http.MethodGet, "/v1/procs/"+id, nil, nil)
}

// logs are all lines that there are, as "stdout: text".
func (c *client) logs(id, query string) []string {
	c.tb.Helper()
	a := c.do(http.MethodGet, "/v1/procs/"+id+"/logs"+query, nil, "Accept", server.MIMELines)
	if a.status != http.StatusOK || a.err != nil {
		c.tb.Fatalf("logs of %s: %s", id, a)
	}
	lines := []string{}
	for line := range strings.Lines(a.body) {
		lines = append(lines, logLine(c.tb, []byte(line)).short())
	}
	return lines
}

// output is what a proc that has ended wrote to its standard output.
func (c *client) output(id string) string {
	c.tb.Helper()
	var b strings.Builder
	for _, line := range c.logs(id, "") {
		if text, ok := strings.CutPrefix(line, "stdout: "); ok {
			b.WriteString(text + "\n")
		}
	}
	return b.String()
}

type line server.LogLine

func (l line) short() string { return l.Stream + ": " + l.Text }

func logLine(tb testing.TB, b []byte) (l line) {
	tb.Helper()
	if err := json.Unmarshal(b, &l); err != nil {
		tb.Fatalf("log line %s: %v", b, err)
	}
	return l
}

// A follower reads a proc's log as it is written.
type follower struct {
	tb     testing.TB
	lines  *bufio.Scanner
	cancel context.CancelFunc
}

// follow begins to read; it waits for a proc that does not run yet.
func (c *client) follow(id string) *follower {
	c.tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	res, err := c.send(ctx, http.MethodGet, "/v1/procs/"+id+"/logs?follow=true", nil, "Accept", server.MIMELines)
	if err != nil {
		cancel()
		c.tb.Fatal(err)
	}
	c.tb.Cleanup(func() { cancel(); res.Body.Close() })
	return &follower{c.tb, bufio.NewScanner(res.Body), cancel}
}

// next is the next line, or not ok when the log has come to its end.
func (f *follower) next() (l line, ok bool) {
	f.tb.Helper()
	if !f.lines.Scan() {
		if err := f.lines.Err(); err != nil {
			f.tb.Fatalf("log stream: %v", err)
		}
		return l, false
	}
	return logLine(f.tb, f.lines.Bytes()), true
}

// until waits for a line.
func (f *follower) until(want string) line {
	f.tb.Helper()
	var seen []string
	for {
		l, ok := f.next()
		if !ok {
			f.tb.Fatalf("the log ended without %q: %q", want, seen)
		}
		if l.short() == want {
			return l
		}
		seen = append(seen, l.short())
	}
}

// all waits for lines that begin so, in any order: two streams have none.
func (f *follower) all(beginnings ...string) {
	f.tb.Helper()
	var seen []string
	for len(beginnings) > 0 {
		l, ok := f.next()
		if !ok {
			f.tb.Fatalf("the log ended without %q: %q", beginnings, seen)
		}
		seen = append(seen, l.short())
		beginnings = slices.DeleteFunc(beginnings, func(b string) bool { return strings.HasPrefix(l.short(), b) })
	}
}

// page asks a web app until it answers, and returns the body.
func page(tb testing.TB, port int) (body string) {
	tb.Helper()
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	testbed.Within(tb, patience, fmt.Sprintf("an answer on port %d", port), func() bool {
		res, err := c.Get(fmt.Sprintf("http://127.0.0.1:%d/", port))
		if err != nil {
			return false
		}
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		body = string(b)
		return err == nil && res.StatusCode == http.StatusOK
	})
	return body
}
