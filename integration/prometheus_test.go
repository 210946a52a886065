//go:build integration

package integration

import (
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/gilliam/hypervisor/integration/testbed"
	"github.com/gilliam/hypervisor/server/proc"
)

var prometheus = flag.String("prometheus", "../bin/prometheus", "a Prometheus `binary`, with promtool beside it")

// A real Prometheus scrapes the daemon without a complaint, and knows what runs.
func TestPrometheus(t *testing.T) {
	d := serve(t)
	var ids []string
	for n := range 2 {
		p := d.create(proc.Request{Name: fmt.Sprint("web.", n), Command: proc.Shell("echo up; exec sleep 1000"), Limits: proc.Limits{Memory: 64 << 20}})
		d.follow(p.ID).until("stdout: up")
		ids = append(ids, p.ID)
	}
	d.run(proc.Request{Command: proc.Shell("exit 3")})
	d.run(proc.Request{Template: "none", Command: proc.Shell("true")})

	check := exec.Command(tool(t, "promtool"), "check", "metrics")
	check.Stdin = strings.NewReader(d.want(http.StatusOK, http.MethodGet, "/metrics", nil, nil).body)
	if r := finish(t, check); r != (result{}) {
		t.Errorf("promtool check metrics: %s", r)
	}

	q := startPrometheus(t, d.tcp)
	q.becomes(t, `up`, "1")
	q.becomes(t, `gilliam_procs{state="running"}`, "2")
	for expr, want := range map[string]string{
		`gilliam_procs{state="fail"}`:                                             "2",
		`sum(gilliam_procs)`:                                                      "4",
		`gilliam_proc_launches_total{outcome="running"}`:                          "3",
		`gilliam_proc_launches_total{outcome="fail"}`:                             "1",
		`count(gilliam_proc_memory_bytes{app="blog"} > 100000)`:                   "2",
		`gilliam_proc_memory_limit_bytes{id="` + ids[0] + `"}`:                    "67108864",
		`gilliam_proc_pids{name="web.1"} > bool 1`:                                "1",
		`gilliam_proc_launch_phase_duration_seconds_count{phase="total"}`:         "3",
		`gilliam_http_requests_total{method="POST",route="/v1/procs",code="201"}`: "4",
		`gilliam_usage_errors_total`:                                              "0",
		`count(gilliam_build_info{version!="",commit!="",goversion=~"go1.*"})`:    "1",
		`process_open_fds > bool 5`:                                               "1",
	} {
		if got := q.ask(t, expr); got != want {
			t.Errorf("%s: got %q, want %s", expr, got, want)
		}
	}
	for _, id := range ids {
		d.stopProc(id, "?grace=0s")
	}
	q.becomes(t, `gilliam_procs{state="running"}`, "0")
	q.becomes(t, `count(gilliam_proc_memory_bytes) or vector(0)`, "0") // none stays for a proc that has ended
}

// tool is a program of Prometheus: beside the one that was named, or in the PATH.
func tool(tb testing.TB, name string) string {
	tb.Helper()
	path, err := filepath.Abs(filepath.Join(filepath.Dir(*prometheus), name))
	must(tb, err)
	if _, err := os.Stat(path); err == nil {
		return path
	}
	if path, err = exec.LookPath(name); err != nil {
		tb.Fatalf("%v: make bin/prometheus", err)
	}
	return path
}

// A querier asks a Prometheus.
type querier struct{ *client }

// startPrometheus starts one that scrapes the daemon until the test ends.
func startPrometheus(tb testing.TB, target string) querier {
	tb.Helper()
	dir := tb.TempDir()
	config := filepath.Join(dir, "prometheus.yml")
	must(tb, os.WriteFile(config, fmt.Appendf(nil, `
global: {scrape_interval: 200ms, scrape_timeout: 200ms}
scrape_configs: [{job_name: gilliam, static_configs: [{targets: [%q]}]}]
`, target), 0o600))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(tb, err)
	addr := l.Addr().String()
	must(tb, l.Close())
	log, err := os.Create(filepath.Join(dir, "log"))
	must(tb, err)
	defer log.Close()
	cmd := exec.Command(tool(tb, "prometheus"), "--config.file", config, "--storage.tsdb.path", filepath.Join(dir, "data"),
		"--web.listen-address", addr, "--scrape.discovery-reload-interval", "100ms") // or it waits for 5 s at first
	cmd.Stderr, cmd.Env, cmd.SysProcAttr = log, env, &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	must(tb, cmd.Start())
	tb.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		cmd.Wait()
		if tb.Failed() {
			text, err := os.ReadFile(log.Name())
			tb.Logf("log of Prometheus: %s %v", text, err)
		}
	})
	c := onTCP(tb, addr, "")
	testbed.Within(tb, patience, "Prometheus", func() bool { return c.do(http.MethodGet, "/-/ready", nil).status == http.StatusOK })
	return querier{c}
}

// ask is the value of an expression, empty when it has none.
func (q querier) ask(tb testing.TB, expr string) string {
	tb.Helper()
	a := q.do(http.MethodGet, "/api/v1/query?query="+url.QueryEscape(expr), nil)
	var r struct {
		Data struct {
			Result []struct{ Value [2]any }
		}
	}
	if err := json.Unmarshal([]byte(a.body), &r); err != nil || a.status != http.StatusOK {
		tb.Fatalf("%s: %s", expr, a)
	}
	if len(r.Data.Result) != 1 {
		return ""
	}
	return fmt.Sprint(r.Data.Result[0].Value[1])
}

// becomes waits until an expression has a value.
func (q querier) becomes(tb testing.TB, expr, want string) {
	tb.Helper()
	testbed.Within(tb, patience, expr+" = "+want, func() bool { return q.ask(tb, expr) == want })
}
