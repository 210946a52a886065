package server

import (
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gilliam/hypervisor/server/proc"
)

func TestCreate(t *testing.T) {
	w := newWorld(t)
	got := call(t, w.unix.URL, "POST", "/v1/procs",
		`{"app":"blog","name":"web.1","image":"https://u:pw@h/x.tar.gz?token=s3cret","command":["a","b"],"config":{"A":"1"},"limits":{"memory":67108864}}`,
		"Content-Type", "application/json; charset=utf-8")
	if got.StatusCode != 201 {
		t.Fatalf("got %d %s", got.StatusCode, got.body)
	}
	var p proc.Proc
	if err := json.Unmarshal([]byte(got.body), &p); err != nil {
		t.Fatal(err)
	}
	if p.App != "blog" || p.Command.String() != `["a","b"]` || p.Limits.Memory != 64<<20 {
		t.Errorf("got %+v", p)
	}
	if loc := got.Header.Get("Location"); loc != "/v1/procs/"+p.ID {
		t.Errorf("Location %q", loc)
	}
	if p.Image != "https://u:xxxxx@h/x.tar.gz?xxxxx" {
		t.Errorf("shows the image's secrets: %s", p.Image)
	}
	if made := w.procs.List()[0]; !strings.Contains(made.Image, "s3cret") {
		t.Errorf("the proc itself lost them: %s", made.Image)
	}
	got = call(t, w.unix.URL, "GET", got.Header.Get("Location"), "")
	if got.StatusCode != 200 || !strings.Contains(got.body, p.ID) {
		t.Errorf("got %d %s", got.StatusCode, got.body)
	}
	if log := w.log.String(); strings.Contains(log, "s3cret") || strings.Contains(log, "pw@") {
		t.Errorf("the log holds the image's secrets:\n%s", log)
	}
}

func TestWithoutSecrets(t *testing.T) {
	tests := map[string]string{
		"":                           "",
		"/srv/images/a.tar.gz":       "/srv/images/a.tar.gz",
		"http://h/a?":                "http://h/a?",
		"http://h/a#x":               "http://h/a#x",
		"http://u:p@h:1/a":           "http://u:xxxxx@h:1/a",
		"http://h/a?sig=1&x=2":       "http://h/a?xxxxx",
		"http://h:port/%zz?token=no": "http://h:port/%zz?token=no", // not a URL: no proc can have it
	}
	for in, want := range tests {
		if got := withoutSecrets(in); got != want {
			t.Errorf("withoutSecrets(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestList(t *testing.T) {
	w := newWorld(t)
	if got := call(t, w.unix.URL, "GET", "/v1/procs", ""); got.body != "{\"procs\":[]}\n" {
		t.Errorf("empty list is %s", got.body)
	}
	for _, p := range []proc.Proc{{App: "a", Name: "1", State: proc.Running}, {App: "a", Name: "2", State: proc.Done}, {App: "b", Name: "3", State: proc.Running}} {
		w.procs.add(p)
	}
	tests := map[string]string{"": "123", "?app=a": "12", "?state=running": "13", "?app=b&state=running": "3", "?app=c": "", "?app=": ""}
	for q, want := range tests {
		var list ProcList
		got := call(t, w.unix.URL, "GET", "/v1/procs"+q, "")
		if err := json.Unmarshal([]byte(got.body), &list); err != nil {
			t.Fatal(err)
		}
		names := ""
		for _, p := range list.Procs {
			names += p.Name
		}
		if names != want {
			t.Errorf("%s: got %s, want %s", q, names, want)
		}
	}
}

func TestQueries(t *testing.T) {
	w := newWorld(t)
	p := w.procs.add(proc.Proc{State: proc.Done})
	at := "/v1/procs/" + p.ID
	tests := []struct{ method, path, field string }{
		{"GET", "/v1/procs?state=sleeping", "state"},
		{"GET", "/v1/procs?status=done", "status"},
		{"GET", "/v1/procs?app=a&app=b", "app"},
		{"POST", "/v1/procs?dry=1", "dry"},
		{"DELETE", at + "?grace=-1s", "grace"},
		{"DELETE", at + "?grace=5", "grace"},
		{"DELETE", at + "?grace=2h", "grace"},
		{"POST", at + "/stop?grace=soon", "grace"},
		{"GET", at + "/wait?timeout=-5s", "timeout"},
		{"GET", at + "/wait?for=ever", "for"},
		{"GET", at + "/wait?timeout=99999999999h", "timeout"},
		{"GET", at + "/logs?tail=-1", "tail"},
		{"GET", at + "/logs?tail=9223372036854775808", "tail"},
		{"GET", at + "/logs?follow=perhaps", "follow"},
		{"GET", at + "/logs?since=1", "since"},
		{"GET", at + "/logs?since=-1m", "since"},
		{"GET", at + "/logs?since=2026-01-02T15:04:05+01:00", "since"}, // the plus is a space
		{"GET", at + "/logs?until=1m", "until"},
	}
	for _, tt := range tests {
		got := call(t, w.unix.URL, tt.method, tt.path, "")
		if got.StatusCode != 400 || !strings.Contains(got.body, `"field":"`+tt.field+`"`) {
			t.Errorf("%s %s: got %d %s", tt.method, tt.path, got.StatusCode, got.body)
		}
	}
}

func TestStopAndRemove(t *testing.T) {
	w := newWorld(t)
	p := w.procs.add(proc.Proc{State: proc.Running})
	at := "/v1/procs/" + p.ID
	got := call(t, w.unix.URL, "POST", at+"/stop?grace=1s500ms", "")
	if got.StatusCode != 200 || !strings.Contains(got.body, `"state":"fail"`) || p.grace != 1500*time.Millisecond {
		t.Errorf("got %d %s, grace %v", got.StatusCode, got.body, p.grace)
	}
	got = call(t, w.unix.URL, "DELETE", at, "")
	if got.StatusCode != 204 || got.body != "" || p.grace != -1 {
		t.Errorf("got %d %q, grace %v", got.StatusCode, got.body, p.grace)
	}
	for _, c := range [][2]string{{"DELETE", at}, {"GET", at}, {"POST", at + "/stop"}, {"GET", at + "/wait"}, {"GET", at + "/logs"}} {
		if got := call(t, w.unix.URL, c[0], c[1], ""); got.StatusCode != 404 {
			t.Errorf("%s %s after the removal: %d", c[0], c[1], got.StatusCode)
		}
	}
}

func TestWait(t *testing.T) {
	w := newWorld(t)
	p := w.procs.add(proc.Proc{State: proc.Running})
	for _, q := range []string{"?timeout=10ms", "?timeout=0s"} {
		if got := call(t, w.unix.URL, "GET", "/v1/procs/"+p.ID+"/wait"+q, ""); got.StatusCode != 202 || !strings.Contains(got.body, `"running"`) {
			t.Errorf("%s: got %d %s", q, got.StatusCode, got.body)
		}
	}
	at := "/v1/procs/" + p.ID + "/wait?timeout=1m"
	if got := call(t, w.unix.URL, "GET", "/v1/procs/"+p.ID+"/wait?for=listening&timeout=10ms", ""); got.StatusCode != 202 || strings.Contains(got.body, `"listening"`) {
		t.Errorf("got %d %s", got.StatusCode, got.body)
	}
	go w.procs.listen(p) // owner: this test, by the answer that it brings
	for range 2 {
		if got := call(t, w.unix.URL, "GET", at+"&for=listening", ""); got.StatusCode != 200 || !strings.Contains(got.body, `"listening":"`) {
			t.Errorf("got %d %s", got.StatusCode, got.body)
		}
	}
	if got := call(t, w.unix.URL, "GET", "/v1/procs/"+p.ID+"/wait?for=end&timeout=10ms", ""); got.StatusCode != 202 {
		t.Errorf("got %d %s", got.StatusCode, got.body)
	}
	go w.procs.end(p, proc.Done) // owner: this test, by the answer that it brings
	if got := call(t, w.unix.URL, "GET", at, ""); got.StatusCode != 200 || !strings.Contains(got.body, `"done"`) {
		t.Errorf("got %d %s", got.StatusCode, got.body)
	}
}

func TestTemplates(t *testing.T) {
	w := newWorld(t)
	for what, want := range map[string]string{
		"GET /v1/templates":                       `200 {"templates":[{"name":"default"}]}`,
		"GET /v1/templates/web":                   `200 {"versions":[{"name":"web","version":"0123456789abcdef","hash":"sha256:0","files":3,"bytes":4,"procs":1}]}`,
		"GET /v1/templates/none@0123456789abcdef": `404 "detail":"no none@0123456789abcdef"`,
		"GET /v1/templates/web/verify":            `200 {"template":{"name":""},"differences":[]}`,
		"GET /v1/templates/other/verify":          `200 "differences":[{"path":"etc/passwd","what":"missing"}]}`,
		"DELETE /v1/templates/web":                `409 "type":"urn:gilliam:problem:template-in-use"`,
		"DELETE /v1/templates/other":              `204 `,
		"POST /v1/templates/prune":                `200 {"templates":[]}`,
	} {
		method, path, _ := strings.Cut(what, " ")
		code, body, _ := strings.Cut(want, " ")
		if got := call(t, w.unix.URL, method, path, ""); strconv.Itoa(got.StatusCode) != code || !strings.Contains(got.body, body) {
			t.Errorf("%s: got %d %s", what, got.StatusCode, got.body)
		}
	}
	broken := newWorld(t, func(c *Config) { c.Templates = fakeTemplates{errors.New("open /secret: denied")} })
	for _, what := range []string{"GET /v1/templates", "GET /v1/templates/web", "GET /v1/templates/web/verify", "DELETE /v1/templates/x", "POST /v1/templates/prune"} {
		method, path, _ := strings.Cut(what, " ")
		if got := call(t, broken.unix.URL, method, path, ""); got.StatusCode != 500 || strings.Contains(got.body, "secret") {
			t.Errorf("%s: got %d %s", what, got.StatusCode, got.body)
		}
	}
}

func TestNode(t *testing.T) {
	w := newWorld(t)
	for path, want := range map[string]string{
		"/v1/version": `{"version":"1.2.3","commit":"abc","go":"go1.26"}`,
		"/healthz":    `{"status":"ok"}`,
		"/readyz":     `{"status":"ready"}`,
		"/metrics":    `gilliam_procs 0`,
	} {
		if got := call(t, w.unix.URL, "GET", path, ""); got.StatusCode != 200 || strings.TrimSpace(got.body) != want {
			t.Errorf("%s: got %d %s", path, got.StatusCode, got.body)
		}
	}
	if got := call(t, w.unix.URL, "PUT", "/v1/procs", "{}"); got.StatusCode != 405 || got.Header.Get("Allow") == "" {
		t.Errorf("got %d, Allow %q", got.StatusCode, got.Header.Get("Allow"))
	}
}
