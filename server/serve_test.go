package server

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gilliam/hypervisor/server/proc"
)

// start serves on real listeners until the returned stop is called.
func start(t *testing.T, change func(*Config)) (procs *fakeProcs, tcp string, socket string, stop func() error) {
	t.Helper()
	procs = &fakeProcs{}
	cfg := Config{Procs: procs, Templates: fakeTemplates{}, Token: testToken}
	change(&cfg)
	socket = filepath.Join(t.TempDir(), "s")
	u, err := ListenUnix(socket, "no-such-group")
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- New(cfg).Serve(ctx, []net.Listener{u}, []net.Listener{l}) }() // owner: stop, which waits for it
	stop = func() error { cancel(); return <-done }
	return procs, l.Addr().String(), socket, stop
}

// raw sends bytes on a connection of its own and reads until the other side
// closes it.
func raw(t *testing.T, network, addr, send string) string {
	t.Helper()
	c, err := net.Dial(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(10 * time.Second))
	io.WriteString(c, send) // the server may have closed it: that is an answer too
	b, _ := io.ReadAll(c)
	return string(b)
}

// T45, T46, T52: what is not a well-behaved client.
func TestRawConnections(t *testing.T) {
	_, tcp, socket, stop := start(t, func(c *Config) {
		c.timeouts.header, c.timeouts.body = 50*time.Millisecond, time.Second // in which a megabyte comes, on a busy machine too
	})
	head := "Host: localhost\r\nAuthorization: Bearer " + testToken + "\r\nConnection: close\r\n"
	post := "POST /v1/procs HTTP/1.1\r\n" + head + "Content-Type: application/json\r\n"
	tests := []struct{ name, send, want string }{
		{"slow header", "GET /healthz HTTP/1.1\r\nHost: loc", ""},
		{"slow body", post + "Content-Length: 10\r\n\r\n{", "400 Bad Request"},
		{"slow body of a stranger", "POST /v1/procs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n{", "401 Unauthorized"},
		{"endless chunks", post + "Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n", "400 Bad Request"},
		{"both lengths", post + "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n", "400 Bad Request"},
		{"too large by length", post + "Content-Length: 1073741824\r\n\r\n", "413 Request Entity Too Large"},
		{"too large by chunks", post + "Transfer-Encoding: chunked\r\n\r\n100001\r\n" + strings.Repeat(" ", 0x100001) + "\r\n0\r\n\r\n", "413 Request Entity Too Large"},
		{"gzip", post + "Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}", "415 Unsupported Media Type"},
		{"expect", post + "Expect: 100-continue\r\nContent-Length: 11\r\n\r\n{\"app\":\"a\"}", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created"},
		{"trace", "TRACE / HTTP/1.1\r\n" + head + "\r\n", "404 Not Found"},
		{"connect", "CONNECT evil.example:80 HTTP/1.1\r\nHost: evil.example:80\r\nConnection: close\r\n\r\n", "421 Misdirected Request"},
		{"absolute form of another host", "GET http://evil.example/v1/procs HTTP/1.1\r\n" + head + "\r\n", "421 Misdirected Request"},
		{"absolute form", "GET http://localhost/v1/procs HTTP/1.1\r\n" + head + "\r\n", "200 OK"},
		{"long path", "GET /" + strings.Repeat("a", 64<<10) + " HTTP/1.1\r\n" + head + "\r\n", "431 Request Header Fields Too Large"},
		{"http2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "HTTP/1.1 "},
		{"no host", "GET /healthz HTTP/1.0\r\n\r\n", "421 Misdirected Request"},
		{"pipelined", "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\nGET /readyz HTTP/1.1\r\n" + head + "\r\n", `{"status":"ready"}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := raw(t, "tcp", tcp, tt.send); !strings.Contains(got, tt.want) || tt.want == "" && got != "" {
				t.Errorf("got %.300q, want %q", got, tt.want)
			}
		})
	}
	if got := raw(t, "unix", socket, "GET /v1/procs HTTP/1.1\r\nHost: anything\r\nConnection: close\r\n\r\n"); !strings.Contains(got, "200 OK") {
		t.Errorf("over the socket: %q", got)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// T46: connections that send next to nothing hold up no one else for longer
// than their header may take, even when they are as many as there may be.
func TestConnectionsAreLimited(t *testing.T) {
	_, tcp, _, stop := start(t, func(c *Config) {
		c.MaxConns, c.timeouts.header = 100, 100*time.Millisecond
	})
	for range 300 {
		c, err := net.Dial("tcp", tcp)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		io.WriteString(c, "GET /healthz HTTP/1.1\r\nHost: loc")
	}
	got := raw(t, "tcp", tcp, "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
	if !strings.Contains(got, "200 OK") {
		t.Errorf("got %q", got)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// T52: a panic ends one request and no more.
func TestPanic(t *testing.T) {
	var counted []string
	w := newWorld(t, func(c *Config) { c.CountPanic = func(where string) { counted = append(counted, where) } })
	for _, value := range []any{"failpoint /secret", proc.ErrNotExist} { // which must not become a 404
		w.procs.panic = value
		got := call(t, w.unix.URL, "POST", "/v1/procs", `{"app":"a"}`)
		if got.StatusCode != 500 || got.Header.Get("Content-Type") != problemJSON || !strings.Contains(got.body, "urn:gilliam:problem:internal") || strings.Contains(got.body, "secret") {
			t.Errorf("got %d %s", got.StatusCode, got.body)
		}
	}
	if fmt.Sprint(counted) != "[http http]" {
		t.Errorf("counted %q", counted)
	}
	if log := w.log.String(); !strings.Contains(log, "failpoint") || !strings.Contains(log, "stack") {
		t.Errorf("not in the log:\n%s", log)
	}
	if got := call(t, w.unix.URL, "GET", "/healthz", ""); got.StatusCode != 200 {
		t.Errorf("after the panic: %d", got.StatusCode)
	}
}

// A request that is under way when the server ends is answered; a stream is
// cut off and does not hold it up.
func TestDrain(t *testing.T) {
	observed := make(chan string, 8)
	procs, tcp, socket, stop := start(t, func(c *Config) {
		c.Observe = func(method, route string, status int, _ time.Duration) {
			observed <- fmt.Sprint(method, " ", route, " ", status)
		}
	})
	p := procs.add(proc.Proc{State: proc.Running}, lines(time.Now())...)
	req, _ := http.NewRequest("GET", "http://"+tcp+"/v1/procs/"+p.ID+"/logs?follow=true", nil)
	req.Header.Set("Authorization", auth)
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if line, err := bufio.NewReader(res.Body).ReadString('\n'); line != "one\n" || err != nil {
		t.Fatalf("got %q, %v", line, err)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	if got := <-observed; got != "GET /v1/procs/:id/logs 200" {
		t.Errorf("observed %s", got)
	}
	if _, err := os.Lstat(socket); !os.IsNotExist(err) {
		t.Errorf("the socket is still there: %v", err)
	}
}

// A node is drained for as long as its procs need, and who waits for that when the
// server ends is told that it does.
func TestDrainOfNode(t *testing.T) {
	const write = 50 * time.Millisecond
	procs, tcp, _, stop := start(t, func(c *Config) { c.timeouts.write = write })
	drained := func() answer { return call(t, "http://"+tcp, "POST", "/v1/drain", "", "Authorization", auth) }
	procs.drain = func(ctx context.Context) error {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(3 * write):
			return nil
		}
	}
	if got := drained(); got.StatusCode != http.StatusNoContent {
		t.Errorf("got %d %s", got.StatusCode, got.body)
	}
	began, answered := make(chan struct{}), make(chan answer, 1)
	procs.drain = func(ctx context.Context) error {
		close(began)
		<-ctx.Done()
		return ctx.Err()
	}
	go func() { answered <- drained() }() // owner: the test, which receives
	select {
	case <-began:
	case got := <-answered:
		t.Fatalf("got %d %s", got.StatusCode, got.body)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	if got := <-answered; got.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("got %d %s", got.StatusCode, got.body)
	}
}

func TestReadyzWhileClosing(t *testing.T) {
	w := newWorld(t)
	w.srv.closing.Store(true)
	if got := call(t, w.tcp.URL, "GET", "/readyz", ""); got.StatusCode != 503 || got.Header.Get("Content-Type") != problemJSON {
		t.Errorf("got %d %s", got.StatusCode, got.body)
	}
	if got := call(t, w.tcp.URL, "GET", "/healthz", ""); got.StatusCode != 200 {
		t.Errorf("healthz: %d", got.StatusCode)
	}
}

// Labels and log lines hold patterns and paths, never a query.
func TestObserve(t *testing.T) {
	var observed []string
	w := newWorld(t, func(c *Config) {
		c.Observe = func(method, route string, status int, _ time.Duration) {
			observed = append(observed, fmt.Sprint(method, " ", route, " ", status))
		}
	})
	call(t, w.unix.URL, "GET", "/v1/procs/x?token=s3cret", "")
	call(t, w.unix.URL, "BREW", "/coffee/pot", "")
	w.unix.Close()
	if got := strings.Join(observed, ", "); got != "GET /v1/procs/:id 404, other other 404" {
		t.Errorf("observed %s", got)
	}
	if log := w.log.String(); strings.Contains(log, "s3cret") || !strings.Contains(log, "/v1/procs/x") {
		t.Errorf("log:\n%s", log)
	}
}
