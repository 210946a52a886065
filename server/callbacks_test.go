package server

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/gilliam/hypervisor/server/proc"
)

func TestCallbacks(t *testing.T) {
	w := newWorld(t)
	if got := call(t, w.unix.URL, "GET", "/v1/callbacks", ""); got.StatusCode != 200 || got.body != "{\"callbacks\":[]}\n" {
		t.Errorf("got %d %s", got.StatusCode, got.body)
	}
	w.procs.callbacks = []proc.Callback{{ID: "p-1", Proc: "p", State: "dead"}, {ID: "p-2", Proc: "p", State: "pending"}, {ID: "q-1", Proc: "q", State: "pending"}}
	for query, want := range map[string]string{
		"": "p-1 p-2 q-1", "?state=dead": "p-1", "?state=pending": "p-2 q-1", "?proc=p": "p-1 p-2", "?proc=q&state=dead": "",
	} {
		got := call(t, w.unix.URL, "GET", "/v1/callbacks"+query, "")
		var list CallbackList
		if err := json.Unmarshal([]byte(got.body), &list); err != nil {
			t.Fatalf("%s: %v: %s", query, err, got.body)
		}
		var ids []string
		for _, c := range list.Callbacks {
			ids = append(ids, c.ID)
		}
		if strings.Join(ids, " ") != want {
			t.Errorf("%s: got %q, want %q", query, ids, want)
		}
	}
	for _, c := range []struct {
		method, path string
		status       int
		want         string
	}{
		{"GET", "/v1/callbacks?state=alive", 400, `"field":"state"`},
		{"GET", "/v1/callbacks?stat=dead", 400, `"field":"stat"`},
		{"DELETE", "/v1/callbacks/p-2", 409, "callback-pending"},
		{"DELETE", "/v1/callbacks/none", 404, "no-callback"},
		{"POST", "/v1/callbacks/none/retry", 404, "no-callback"},
		{"POST", "/v1/callbacks/p-1/retry", 200, `"state":"pending"`},
		{"DELETE", "/v1/callbacks/p-1", 409, "callback-pending"},
	} {
		if got := call(t, w.unix.URL, c.method, c.path, ""); got.StatusCode != c.status || !strings.Contains(got.body, c.want) {
			t.Errorf("%s %s: got %d %s", c.method, c.path, got.StatusCode, got.body)
		}
	}
	w.procs.callbacks[0].State = "dead"
	if got := call(t, w.unix.URL, "DELETE", "/v1/callbacks/p-1", ""); got.StatusCode != 204 || len(w.procs.callbacks) != 2 {
		t.Errorf("got %d %s", got.StatusCode, got.body)
	}
	for _, path := range []string{"/v1/callbacks", "/v1/callbacks/p-2"} {
		if got := call(t, w.tcp.URL, "GET", path, ""); got.StatusCode != 401 && got.StatusCode != 405 {
			t.Errorf("%s without a token: %d", path, got.StatusCode)
		}
	}
}

// A secret that a client gives is taken, and told to nobody.
func TestCallbackSecretIsNotShown(t *testing.T) {
	w := newWorld(t)
	const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	made := call(t, w.unix.URL, "POST", "/v1/procs", `{"app":"a","name":"b","command":"c","callback":"http://h/","callback_secret":"`+secret+`"}`)
	if made.StatusCode != 201 || string(w.procs.secret) != secret {
		t.Fatalf("got %d %s", made.StatusCode, made.body)
	}
	for _, path := range []string{made.Header.Get("Location"), "/v1/procs", "/proc"} {
		if got := call(t, w.unix.URL, "GET", path, ""); got.StatusCode != 200 || strings.Contains(got.body+made.body, "whsec") {
			t.Errorf("%s: got %d %s", path, got.StatusCode, got.body)
		}
	}
	if strings.Contains(w.log.String(), "whsec") {
		t.Errorf("logged: %s", w.log)
	}
}
