package proc

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

func TestNotifierKeepsOrder(t *testing.T) {
	var mu sync.Mutex
	var got []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		got = append(got, r.Method+" "+r.URL.RawQuery)
		if strings.Contains(r.URL.RawQuery, "boot") {
			w.WriteHeader(http.StatusInternalServerError) // logged, and never repeated
		}
	}))
	defer server.Close()
	var idle sync.WaitGroup
	counts := map[string]int{}
	n := &notifier{
		ctx: t.Context(), client: server.Client(), url: server.URL + "/cb?x=1", log: slog.New(slog.DiscardHandler),
		count: func(o string) { counts[o]++ }, idle: &idle,
	}
	for _, s := range []State{Init, Boot, Running, Done} {
		n.tell(Proc{Name: "n", Port: 1, State: s})
	}
	idle.Wait()
	var want []string
	for _, s := range []State{Init, Boot, Running, Done} {
		want = append(want, fmt.Sprintf("POST x=1&name=n&port=1&state=%s", s))
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got %q, want %q", got, want)
	}
	if counts["delivered"] != 3 || counts["failed"] != 1 {
		t.Errorf("%v", counts)
	}
}
