//go:build integration

package integration

import (
	"io/fs"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/gilliam/hypervisor/integration/testbed"
	"github.com/gilliam/hypervisor/server"
	"github.com/gilliam/hypervisor/server/proc"
)

// What may come in over TCP, and what not.
func TestTCPEdge(t *testing.T) {
	d := serve(t)
	b, err := os.ReadFile(filepath.Join(d.stateDir, "token"))
	must(t, err)
	token := strings.TrimSpace(string(b))
	_, port, err := net.SplitHostPort(d.tcp)
	must(t, err)
	bearer := []string{"Authorization", "Bearer " + token}
	request := map[string]any{"app": "a", "name": "b", "command": "true"}
	for name, c := range map[string]struct {
		method, path string
		body         any
		headers      []string
		status       int
		problem      string
	}{
		"with the token":        {"GET", "/v1/procs", nil, bearer, 200, ""},
		"as localhost":          {"GET", "/v1/procs", nil, append([]string{"Host", "localhost:" + port}, bearer...), 200, ""},
		"open: healthz":         {"GET", "/healthz", nil, nil, 200, ""},
		"open: readyz":          {"GET", "/readyz", nil, nil, 200, ""},
		"open: metrics":         {"GET", "/metrics", nil, nil, 200, ""},
		"no token":              {"GET", "/v1/procs", nil, nil, 401, "unauthorized"},
		"no token: create":      {"POST", "/v1/procs", request, nil, 401, "unauthorized"},
		"no token: original":    {"POST", "/proc", request, nil, 401, "unauthorized"},
		"no token: nothing":     {"GET", "/no/such/path", nil, nil, 401, "unauthorized"},
		"wrong token":           {"GET", "/v1/procs", nil, []string{"Authorization", "Bearer " + token[:len(token)-1]}, 401, "unauthorized"},
		"as a password":         {"GET", "/v1/procs", nil, []string{"Authorization", "Basic " + token}, 401, "unauthorized"},
		"in the query":          {"GET", "/v1/procs?token=" + token, nil, nil, 401, "unauthorized"},
		"another host's name":   {"GET", "/v1/procs", nil, append([]string{"Host", "evil.example:" + port}, bearer...), 421, "wrong-host"},
		"even for what is open": {"GET", "/metrics", nil, []string{"Host", "evil.example"}, 421, "wrong-host"},
		"from another site":     {"POST", "/v1/procs", request, append([]string{"Origin", "https://evil.example"}, bearer...), 403, "cross-origin"},
		"as a browser says":     {"POST", "/v1/procs", request, append([]string{"Sec-Fetch-Site", "cross-site"}, bearer...), 403, "cross-origin"},
		"as a form":             {"POST", "/v1/procs", request, append([]string{"Content-Type", "text/plain"}, bearer...), 415, "media-type"},
		"too large":             {"POST", "/v1/procs", map[string]string{"app": strings.Repeat("x", 2<<20)}, bearer, 413, "too-large"},
		"an unknown field":      {"POST", "/v1/procs", map[string]string{"app": "a", "user": "root"}, bearer, 400, "invalid"},
		"an id that is none":    {"GET", "/v1/procs/..%2f..%2ftoken", nil, bearer, 404, "not-found"},
		"a path upwards":        {"GET", "/v1/procs/../../token", nil, bearer, 404, "no-route"},
		"a method of none":      {"PUT", "/v1/procs", request, bearer, 405, "method"},
	} {
		t.Run(name, func(t *testing.T) {
			a := onTCP(t, d.tcp, "").do(c.method, c.path, c.body, c.headers...)
			if a.status != c.status {
				t.Fatalf("got %s, want %d", a, c.status)
			}
			if c.problem != "" {
				p := decode[server.Problem](t, a)
				if p.Type != server.ProblemType+c.problem || p.Status != c.status || p.Detail == "" || a.header.Get("Content-Type") != "application/problem+json" {
					t.Errorf("got %s %v", a, a.header)
				}
			}
			if a.header.Get("Access-Control-Allow-Origin") != "" || strings.Contains(a.body, token) {
				t.Errorf("got %s %v", a, a.header)
			}
		})
	}
	if got := d.list(""); len(got) != 0 {
		t.Errorf("a proc was made: %+v", got)
	}
	if strings.Contains(d.log(), token) {
		t.Error("the log tells the token")
	}
}

// Another user of the machine sees nothing of the state, and cannot use the
// socket even where it can be reached.
func TestOtherUsers(t *testing.T) {
	testbed.Leaves(t)
	public := filepath.Join(builds, "public") // t.TempDir is for root alone
	must(t, os.Mkdir(public, 0o755))
	t.Cleanup(func() { os.RemoveAll(public) })
	d := newDaemon(t, t.TempDir(), portRange(), "--socket", filepath.Join(public, "s.sock"))
	d.socket = filepath.Join(public, "s.sock")
	d.client = onSocket(t, d.socket)
	d.start()
	p := d.run(proc.Request{Command: proc.Shell("echo secret")})

	for _, dir := range []string{"", "procs", "layers", "cache", "volumes", "procs/" + p.ID} {
		hasMode(t, filepath.Join(d.stateDir, dir), 0o700, 0)
	}
	for _, f := range []string{"token", "lock", "procs/" + p.ID + "/proc.json", "procs/" + p.ID + "/log.1", "procs/" + p.ID + "/sandbox.json"} {
		hasMode(t, filepath.Join(d.stateDir, f), 0o600, 0)
	}
	if g, err := user.LookupGroup("gilliam"); err == nil {
		gid, err := strconv.Atoi(g.Gid)
		must(t, err)
		hasMode(t, d.socket, 0o660, gid)
	} else {
		hasMode(t, d.socket, 0o600, 0)
	}

	other := func(args ...string) result {
		return finish(t, exec.Command("setpriv", append([]string{"--reuid", "65533", "--regid", "65533", "--clear-groups", "--"}, args...)...))
	}
	if r := other("ls", public); r.code != 0 || r.stdout != "s.sock\n" {
		t.Fatalf("the socket cannot be reached: this tests nothing: %s", r)
	}
	for _, args := range [][]string{
		{"ls", d.stateDir}, {"cat", filepath.Join(d.stateDir, "token")},
		{*hypervisor, "ps", "--socket", d.socket}, {*hypervisor, "ps", "--url", "http://" + d.tcp, "--state-dir", d.stateDir},
	} {
		if r := other(args...); r.code == 0 || r.stdout != "" || !strings.Contains(strings.ToLower(r.stderr), "permission denied") {
			t.Errorf("%q: got %s", args, r)
		}
	}
	if r := other(*hypervisor, "serve", "--state-dir", filepath.Join(public, "mine"), "--port", "0"); r.code != 1 || !strings.Contains(r.stderr, "must be run as root") {
		t.Errorf("serve: got %s", r)
	}
}

// hasMode fails the test when a file of root's has another mode or group.
func hasMode(tb testing.TB, path string, want fs.FileMode, gid int) {
	tb.Helper()
	info, err := os.Lstat(path)
	must(tb, err)
	sys := info.Sys().(*syscall.Stat_t)
	if info.Mode().Perm() != want || sys.Uid != 0 || int(sys.Gid) != gid {
		tb.Errorf("%s: mode %04o of %d:%d, want %04o of 0:%d", path, info.Mode().Perm(), sys.Uid, sys.Gid, want, gid)
	}
}
