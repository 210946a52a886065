//go:build integration

package integration

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/gilliam/hypervisor/server/proc"
)

func decode[T any](tb testing.TB, a answer) (v T) {
	tb.Helper()
	if err := json.Unmarshal([]byte(a.body), &v); err != nil {
		tb.Errorf("%v in %s", err, a.body)
	}
	return v
}

var uuid4 = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)

// A client of the original hypervisor finds its /proc as it knows it, byte for
// byte: over TCP, without a token where the operator said so.
func TestOriginalAPI(t *testing.T) {
	r := receive(t, well)
	images := serveImages(t, map[string][]byte{"app.tar.gz": packDir(t, "testdata/pyweb")})
	d := serve(t, "--insecure-tcp")
	c := onTCP(t, d.tcp, "")

	image := images + "app.tar.gz?a=1&b=<2>"
	a := c.do(http.MethodPost, "/proc", map[string]any{
		"app": "blog", "name": "web.1", "image": image, "command": "exec python3 app.py && true",
		"config": map[string]string{"COLOR": "<blue> & green", "PORT": "1"}, "callback": r.url + "hook", "unknown": true,
	})
	if a.status != http.StatusCreated {
		t.Fatalf("create: got %s", a)
	}
	p := decode[proc.Proc](t, a)
	shown := func(state proc.State) string {
		return fmt.Sprintf(`{"id":"%s","app":"blog","name":"web.1","image":"%s","config":{"COLOR":"<blue> & green","HOST":"%s","PORT":"%d"},`+
			`"port":%d,"state":"%s","command":"exec python3 app.py && true","links":{"self":"/proc/%s"}}`,
			p.ID, image, p.Config["HOST"], p.Port, p.Port, state, p.ID)
	}
	if !uuid4.MatchString(p.ID) || p.Port < d.basePort || p.Config["HOST"] == "" {
		t.Errorf("got %+v", p)
	}
	if want := shown(proc.Init) + "\n"; a.body != want {
		t.Errorf("create: got\n%swant\n%s", a.body, want)
	}
	if got, want := a.header.Get("Location"), "/proc/"+p.ID; got != want {
		t.Errorf("Location: got %q, want %q", got, want)
	}
	if got := a.header.Get("Content-Type"); got != "application/json" {
		t.Errorf("Content-Type: got %q", got)
	}
	for n, want := range []string{"init", "boot", "running"} {
		if got, want := r.next(t, 1)[0], fmt.Sprintf("POST /hook?name=web.1&port=%d&state=%s", p.Port, want); got != want {
			t.Errorf("callback %d: got %q, want %q", n, got, want)
		}
	}
	page(t, p.Port)

	if got, want := c.do(http.MethodGet, "/proc/"+p.ID, nil), shown(proc.Running)+"\n"; got.status != http.StatusOK || got.body != want {
		t.Errorf("get: got %s, want\n%s", got, want)
	}
	if got, want := c.do(http.MethodGet, "/proc", nil), fmt.Sprintf("{%q:%s}\n", p.ID, shown(proc.Running)); got.status != http.StatusOK || got.body != want {
		t.Errorf("list: got %s, want\n%s", got, want)
	}
	if got := c.do(http.MethodDelete, "/proc/"+p.ID, nil); got.status != http.StatusNoContent || got.body != "" {
		t.Errorf("delete: got %s", got)
	}
	if got, want := r.next(t, 1)[0], fmt.Sprintf("POST /hook?name=web.1&port=%d&state=fail", p.Port); got != want {
		t.Errorf("last callback: got %q, want %q", got, want)
	}
	for _, method := range []string{http.MethodGet, http.MethodDelete} {
		if got := c.do(method, "/proc/"+p.ID, nil); got.status != http.StatusNotFound {
			t.Errorf("%s after the end: got %s", method, got)
		}
	}
	if got := c.do(http.MethodGet, "/proc", nil); got.body != "{}\n" {
		t.Errorf("list after the end: got %s", got)
	}
	d.nothingLeftOf(t, p)
}

// A new proc is answered in state init, however fast it boots.
func TestCreateAnswersInit(t *testing.T) {
	d := serve(t)
	for _, path := range []string{"/v1/procs", "/proc"} {
		for range 10 {
			a := d.do(http.MethodPost, path, map[string]any{"app": "a", "name": "b", "template": "none", "command": []string{"/bin/true"}})
			if p := decode[proc.Proc](t, a); a.status != http.StatusCreated || p.State != proc.Init {
				t.Errorf("POST %s: got %s", path, a)
			}
		}
	}
	for _, p := range d.list("") {
		d.wait(p.ID)
	}
}

// Without --insecure-tcp the original's resource, as every other, needs the
// token over TCP.
func TestOriginalAPINeedsToken(t *testing.T) {
	d := serve(t)
	token, err := os.ReadFile(filepath.Join(d.stateDir, "token"))
	if err != nil {
		t.Fatal(err)
	}
	body := map[string]any{"app": "blog", "name": "web.1", "command": "true"}
	for _, c := range []struct {
		name, token   string
		create, other int
	}{
		{"none", "", http.StatusUnauthorized, http.StatusUnauthorized},
		{"wrong", strings.Repeat("0", 64), http.StatusUnauthorized, http.StatusUnauthorized},
		{"right", strings.TrimSpace(string(token)), http.StatusCreated, http.StatusNotFound},
	} {
		t.Run(c.name, func(t *testing.T) {
			tcp := onTCP(t, d.tcp, c.token)
			a := tcp.do(http.MethodPost, "/proc", body)
			if a.status != c.create {
				t.Errorf("create: got %s, want %d", a, c.create)
			}
			if c.create == http.StatusUnauthorized && !strings.HasPrefix(a.header.Get("WWW-Authenticate"), "Bearer") {
				t.Errorf("got headers %v", a.header)
			}
			if a := tcp.do(http.MethodDelete, "/proc/11111111-1111-4111-8111-111111111111", nil); a.status != c.other {
				t.Errorf("delete of none: got %s, want %d", a, c.other)
			}
		})
	}
	if got := d.list(""); len(got) != 1 {
		t.Errorf("got %d procs, want 1", len(got))
	} else {
		d.wait(got[0].ID)
	}
}
