package server

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/gilliam/hypervisor/server/proc"
)

const originalID = "0b9d6a1c-5f6b-4a0e-9a3c-1f2e3d4c5b6a"

// The shape that the original's clients know, to the byte.
func TestOriginalShape(t *testing.T) {
	w := newWorld(t)
	p := w.procs.add(proc.Proc{
		ID: originalID, App: "blog", Name: "web.1", Image: "http://h/a.tar.gz?k=v", Command: proc.Shell("./run <x>"), Callback: "http://cb",
		Config: map[string]string{"PORT": "10000", "HOST": "node", "A": "1"}, Port: 10000, State: proc.Running, PID: 7, Template: "default",
	})
	want := `{"id":"` + p.ID + `","app":"blog","name":"web.1","image":"http://h/a.tar.gz?k=v","config":{"A":"1","HOST":"node","PORT":"10000"},` +
		`"port":10000,"state":"running","command":"./run <x>","links":{"self":"/proc/` + p.ID + `"}}`
	if got := call(t, w.unix.URL, "GET", "/proc/"+p.ID, ""); got.StatusCode != 200 || strings.TrimSpace(got.body) != want {
		t.Errorf("got  %d %s\nwant %s", got.StatusCode, got.body, want)
	}
	if got := call(t, w.unix.URL, "GET", "/proc", ""); strings.TrimSpace(got.body) != `{"`+p.ID+`":`+want+`}` {
		t.Errorf("list: %s", got.body)
	}
}

func TestOriginal(t *testing.T) {
	w := newWorld(t)
	if got := call(t, w.unix.URL, "GET", "/proc", ""); got.StatusCode != 200 || strings.TrimSpace(got.body) != "{}" {
		t.Errorf("empty: got %d %s", got.StatusCode, got.body)
	}
	got := call(t, w.unix.URL, "POST", "/proc", `{"app":"a","name":"n","image":"http://i","command":"run","config":null,"callback":"http://cb","future":{"x":[1]}}`, "Content-Type", "")
	if got.StatusCode != 201 {
		t.Fatalf("got %d %s", got.StatusCode, got.body)
	}
	var p struct {
		ID     string
		Config map[string]string
		Links  struct{ Self string }
	}
	if err := json.Unmarshal([]byte(got.body), &p); err != nil {
		t.Fatal(err)
	}
	if loc := got.Header.Get("Location"); loc != "/proc/"+p.ID || p.Links.Self != loc || p.Config == nil {
		t.Errorf("Location %q, %+v", loc, p)
	}
	if made := w.procs.List()[0]; made.Callback != "http://cb" || made.Command.String() != "run" {
		t.Errorf("made %+v", made)
	}
	if got := call(t, w.unix.URL, "DELETE", "/proc/"+p.ID, ""); got.StatusCode != 204 || got.body != "" {
		t.Errorf("got %d %q", got.StatusCode, got.body)
	}
	for _, method := range []string{"GET", "DELETE"} {
		if got := call(t, w.unix.URL, method, "/proc/"+p.ID, ""); got.StatusCode != 404 {
			t.Errorf("%s after the removal: %d", method, got.StatusCode)
		}
	}
	for body, field := range map[string]string{`{"app":1}`: "app", `{"app":"a","config":{"A":1}}`: "config", `{"app":"a","command":{}}`: "command", `{`: "body", ` `: "body", `{"name":"n"}`: "app"} {
		if got := call(t, w.unix.URL, "POST", "/proc", body); got.StatusCode != 400 || !strings.Contains(got.body, `"field":"`+field) {
			t.Errorf("%q: got %d %s", body, got.StatusCode, got.body)
		}
	}
}
