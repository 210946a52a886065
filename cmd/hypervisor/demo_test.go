package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// sampleServer is a sample app that answers so.
func sampleServer(t *testing.T, status int) (port int) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }))
	t.Cleanup(srv.Close)
	return srv.Listener.Addr().(*net.TCPAddr).Port
}

func TestDemo(t *testing.T) {
	m := newMachine(t)
	m.procs.port = sampleServer(t, http.StatusOK)
	stop, stderr := m.start("demo", "--port", "0")
	p := m.procs.List()[0]
	if p.App != "sample" || p.Image != filepath.Join(m.dir, "demo", "sample.tar.gz") {
		t.Errorf("deployed %+v", p)
	}
	if status := stop(); status != 0 || !m.procs.closed {
		t.Errorf("stop: %d\n%s", status, stderr)
	}
}

// The standard output is the one line and nothing else.
func TestDemoPrintsOneLine(t *testing.T) {
	m := newMachine(t)
	m.procs.port = sampleServer(t, http.StatusOK)
	a, stdout, _ := m.app()
	cfg := serveConfig{socket: filepath.Join(m.dir, "hypervisor.sock")}
	m.serve()
	if err := a.deploySample(t.Context(), newClient(clientConfig{socket: cfg.socket}), t.TempDir()); err != nil {
		t.Fatal(err)
	}
	if out := stdout.String(); !strings.HasPrefix(out, "ready: http://127.0.0.1:") || !strings.HasSuffix(out, "/\n") || strings.Count(out, "\n") != 1 {
		t.Errorf("printed %q", out)
	}
}

func TestDemoFails(t *testing.T) {
	m := newMachine(t)
	m.serve()
	c := newClient(clientConfig{socket: filepath.Join(m.dir, "hypervisor.sock")})
	m.procs.port = sampleServer(t, http.StatusServiceUnavailable)
	a, _, _ := m.app()
	err := a.deploySample(t.Context(), c, t.TempDir())
	if err == nil || !strings.Contains(err.Error(), "it answers 503 Service Unavailable\nits last output was:\n  out") {
		t.Errorf("got %v", err)
	}

	m.procs.deaf = true
	m.procs.made = make(chan string, 1)
	go func() { m.run(t.Context(), "stop", <-m.procs.made) }() // owner: ends with the proc it stops
	err = a.deploySample(t.Context(), c, t.TempDir())
	if err == nil || !strings.Contains(err.Error(), "ended instead of listening on port") || !strings.Contains(err.Error(), "last output was:\n  out") {
		t.Errorf("got %v", err)
	}

	m.procs.made = nil
	a.readyTime = time.Millisecond
	if err := a.deploySample(t.Context(), c, t.TempDir()); err == nil || !strings.Contains(err.Error(), "did not answer within 1ms") {
		t.Errorf("got %v", err)
	}
}

// The image is a .tar.gz of the sample, the same each time.
func TestPackSample(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "demo")
	path, err := packSample(dir)
	if err != nil {
		t.Fatal(err)
	}
	first, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	zip, err := gzip.NewReader(bytes.NewReader(first))
	if err != nil {
		t.Fatal(err)
	}
	archive := tar.NewReader(zip)
	for _, name := range []string{"app.py", "run.sh"} {
		h, err := archive.Next()
		if err != nil || h.Name != name || h.Mode != 0o644 {
			t.Fatalf("got %+v, %v", h, err)
		}
		if b, err := io.ReadAll(archive); err != nil || !strings.Contains(string(b), "PORT") {
			t.Errorf("got %q, %v", b, err)
		}
	}
	if _, err := archive.Next(); err != io.EOF {
		t.Errorf("more in it: %v", err)
	}

	st, _ := os.Stat(path)
	if _, err := packSample(dir); err != nil {
		t.Fatal(err)
	}
	if again, _ := os.Stat(path); !os.SameFile(st, again) {
		t.Error("an equal image was written again")
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := packSample(dir); err != nil {
		t.Fatal(err)
	}
	if second, _ := os.ReadFile(path); !bytes.Equal(first, second) {
		t.Error("a damaged image was not replaced, or is not the same each time")
	}
}
