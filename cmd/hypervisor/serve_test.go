package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"github.com/gilliam/hypervisor/isolate"
	"github.com/gilliam/hypervisor/metrics"
)

func TestServeFlags(t *testing.T) {
	long := "/" + strings.Repeat("x", 107)
	tests := []struct {
		args []string
		env  map[string]string
		want string // of the error; empty: there is none
	}{
		{args: []string{"--port", "70000"}, want: `"--port" flag: must be a whole number from 0 to 65535`},
		{args: []string{"--port", "10000"}, want: "--port: 10000 is in the pool"},
		{args: []string{"--base-port", "65500"}, want: "beyond port 65535"},
		{args: []string{"--max-procs", "0"}, want: "--max-procs"},
		{args: []string{"--run-user", "root"}, want: "not root"},
		{args: []string{"--run-user", "0"}, want: "--run-user"},
		{args: []string{"--log-sink", "udp://host"}, want: "--log-sink"},
		{args: []string{"--listen", "example.com"}, want: "--listen"},
		{args: []string{"--listen", "0.0.0.0", "--insecure-tcp"}, want: "--insecure-tcp: only with --listen on a loopback"},
		{args: []string{"--socket", long}, want: "at most 107 bytes"},
		{args: []string{"--state-dir", long}, want: "at most 107 bytes"},
		{args: []string{"--allow-net", "10.0.0.1"}, want: "--allow-net"},
		{args: []string{"--allowed-host", "h:1"}, want: "without a port"},
		{args: []string{"--grace", "-1s"}, want: "--grace"},
		{args: []string{"--keep-ended", "many"}, want: "--keep-ended"},
		{args: []string{"--log-format", "xml"}, want: "text or json"},
		{args: []string{"--log-level", "loud"}, want: "debug, info, warn or error"},
		{args: []string{"--max-io", "x=1"}, want: "--max-io"},
		{args: []string{"--max-rlimit", "nproc=1"}, want: "NAME one of nofile, memlock, fsize"},
		{args: []string{"extra"}, want: "unknown command"},
		{env: map[string]string{"PORT": "x"}, want: "environment variable PORT"},
		{env: map[string]string{"MAX_PROCS": "-1"}, want: "environment variable MAX_PROCS"},
		{env: map[string]string{"GILLIAM_ALLOW_NET": "10.0.0.0/8,x"}, want: "environment variable GILLIAM_ALLOW_NET"},
		{env: map[string]string{"GILLIAM_INSECURE_TCP": "perhaps"}, want: "environment variable GILLIAM_INSECURE_TCP"},
	}
	for _, tt := range tests {
		m := newMachine(t)
		for k, v := range tt.env {
			m.env[k] = v
		}
		status, _, stderr := m.run(t.Context(), append([]string{"serve"}, tt.args...)...)
		if status != exitUsage || !strings.Contains(stderr, tt.want) {
			t.Errorf("%v %v: got %d %q, want %q", tt.args, tt.env, status, stderr, tt.want)
		}
	}
}

// The original's variables keep their meaning, and a flag wins over them.
func TestEnvironment(t *testing.T) {
	m := newMachine(t)
	a, _, _ := m.app()
	for k, v := range map[string]string{
		"PORT": "9100", "BASE_PORT": "20000", "MAX_PROCS": "7", "RUNUSER": "app", "TEMPLATE": "/t", "LOGSINK": "",
		"GILLIAM_MAX_CPU_WEIGHT": "500", "GILLIAM_MAX_IO": "read_bps=10M,weight=300", "GILLIAM_MAX_RLIMIT": "nofile=65536",
		"GILLIAM_IMAGE_DIR": "/a,/b", "GILLIAM_ALLOW_NET": "10.1.2.3/8", "GILLIAM_GRACE": "",
	} {
		a.env[k] = v
	}
	var cfg serveConfig
	set := pflag.NewFlagSet("serve", pflag.ContinueOnError)
	cfg.flags(set)
	if err := set.Parse([]string{"--port", "9200"}); err != nil {
		t.Fatal(err)
	}
	if err := a.fromEnv(set); err != nil {
		t.Fatal(err)
	}
	if err := cfg.complete(); err != nil {
		t.Fatal(err)
	}
	if cfg.port != 9200 || cfg.basePort != 20000 || cfg.maxProcs != 7 || cfg.runUser != "app" || cfg.template != "/t" || cfg.logSink != "" ||
		len(cfg.imageDirs) != 2 || cfg.allowNets[0].String() != "10.0.0.0/8" || cfg.grace.String() != "8s" || cfg.socket != m.dir+"/hypervisor.sock" {
		t.Errorf("got %+v", cfg)
	}
	most := isolate.Limits{CPUWeight: 500, IO: isolate.IOLimits{ReadBPS: 10 << 20, Weight: 300}, Rlimits: isolate.ProcessLimits{Nofile: 65536}}
	if cfg.policy.Max != most {
		t.Errorf("got the policy %+v", cfg.policy.Max)
	}
}

// From the first start to the removal of the socket.
func TestServe(t *testing.T) {
	m := newMachine(t)
	stop, stderr := m.start("serve", "--port", "0", "--log-format", "json")
	_, rest, _ := strings.Cut(stderr.String(), `"tcp":"`)
	addr, _, _ := strings.Cut(rest, `"`)

	token, err := os.ReadFile(filepath.Join(m.dir, "token"))
	if err != nil || len(strings.TrimSpace(string(token))) != 64 {
		t.Fatalf("token %q, %v", token, err)
	}
	for path, mode := range map[string]os.FileMode{"": 0o700, "token": 0o600, "lock": 0o600} {
		if st, err := os.Stat(filepath.Join(m.dir, path)); err != nil || st.Mode().Perm() != mode {
			t.Errorf("%s: %v %v", path, st.Mode(), err)
		}
	}
	for auth, want := range map[string]int{"": 401, "Bearer " + strings.TrimSpace(string(token)): 200} {
		req, _ := http.NewRequestWithContext(t.Context(), "GET", "http://"+addr+"/v1/procs", nil)
		req.Header.Set("Authorization", auth)
		req.Close = true
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, res.Body)
		res.Body.Close()
		if res.StatusCode != want {
			t.Errorf("%q: got %d, want %d", auth, res.StatusCode, want)
		}
	}
	if status, stdout, stderr := m.run(t.Context(), "ps", "--url", "http://"+addr); status != 0 {
		t.Errorf("over TCP: %d %s %s", status, stdout, stderr)
	}
	if status, _, stderr := m.run(t.Context(), "serve", "--port", "0"); status != 1 ||
		!strings.Contains(stderr, filepath.Join(m.dir, "lock")) || !strings.Contains(stderr, fmt.Sprintf("process %d,", os.Getpid())) {
		t.Errorf("a second daemon: %d %s", status, stderr)
	}
	if status := stop(); status != 0 || !m.procs.closed {
		t.Errorf("stop: %d, closed %v\n%s", status, m.procs.closed, stderr)
	}
	if _, err := os.Lstat(filepath.Join(m.dir, "hypervisor.sock")); !os.IsNotExist(err) {
		t.Errorf("the socket is still there: %v", err)
	}
	m.start("serve", "--port", "0")
	if again, _ := os.ReadFile(filepath.Join(m.dir, "token")); string(again) != string(token) {
		t.Error("the second start made another token")
	}
}

// Whatever fails on the way up, what was opened is closed.
func TestServeFails(t *testing.T) {
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	_, port, _ := net.SplitHostPort(busy.Addr().String())

	m := newMachine(t)
	engineClosed := false
	m.node.close = func() error { engineClosed = true; return errors.New("engine is sad") }
	status, _, stderr := m.run(t.Context(), "serve", "--port", port)
	if status != 1 || !strings.Contains(stderr, "choose another --port") || !strings.Contains(stderr, "close engine: engine is sad") {
		t.Errorf("port taken: got %d %s", status, stderr)
	}
	if !m.procs.closed || !engineClosed {
		t.Error("what was opened is not closed")
	}
	if _, err := os.Lstat(filepath.Join(m.dir, "hypervisor.sock")); !os.IsNotExist(err) {
		t.Errorf("the socket is still there: %v", err)
	}

	a, _, out := m.app()
	a.check = func() error { return errors.New("must be run as root: put sudo in front of it") }
	if status := a.run(t.Context(), []string{"serve"}); status != 1 || !strings.Contains(out.String(), "as root") {
		t.Errorf("not root: got %d %s", status, out)
	}
	a, _, out = m.app()
	a.open = func(*serveConfig, *metrics.Metrics, *slog.Logger) (*node, error) {
		return nil, errors.New("this machine cannot run sandboxes: kernel 4.19")
	}
	if status := a.run(t.Context(), []string{"serve", "--port", "0"}); status != 1 || !strings.Contains(out.String(), "kernel 4.19") {
		t.Errorf("probe: got %d %s", status, out)
	}
}

// One line tells all that the host lacks; there is none when it lacks nothing.
func TestLogRemarks(t *testing.T) {
	var b strings.Builder
	log := slog.New(slog.NewTextHandler(&b, nil))
	logRemarks(log, nil)
	logRemarks(log, []isolate.Remark{{About: "swap", Text: "no limit"}, {About: "io", Text: "none"}})
	_, got, _ := strings.Cut(b.String(), " level")
	if want := "=WARN msg=\"this host could isolate better\" swap=\"no limit\" io=none\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// A service manager hears how the daemon is, and no more from one that is stuck
// although its timers run.
func TestServeNotifies(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	const within = 300 * time.Millisecond
	told := func(wait time.Duration) string {
		c.SetReadDeadline(time.Now().Add(wait))
		b := make([]byte, 4096)
		n, _ := c.Read(b)
		return string(b[:n])
	}
	until := func(want string) {
		t.Helper()
		for {
			got := told(10 * time.Second)
			if strings.HasPrefix(got, want) {
				return
			}
			if got == "" {
				t.Fatalf("%s is not told", want)
			}
		}
	}
	t.Setenv("NOTIFY_SOCKET", path)
	t.Setenv("WATCHDOG_USEC", fmt.Sprint(within.Microseconds()))

	m := newMachine(t)
	stop, _ := m.start("serve", "--port", "0")
	until("STATUS=taking over")
	until("READY=1\nSTATUS=0 procs running, 0 kept")
	until("WATCHDOG=1\nSTATUS=0 procs running, 0 kept")
	m.procs.mu.Lock()
	beats := 0
	for told(3*within) != "" && beats < 3 { // the first may have been under way
		beats++
	}
	m.procs.mu.Unlock()
	if beats > 1 {
		t.Errorf("%d beats while the procs hung", beats)
	}
	until("WATCHDOG=1")
	if status := stop(); status != 0 {
		t.Errorf("stop: %d", status)
	}
	until("STOPPING=1")
}
