//go:build integration

package integration

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gilliam/hypervisor/server/proc"
)

// A receiver hears callbacks.
type receiver struct {
	url   string
	calls chan string
}

// receive answers callbacks by handle, after it has kept them.
func receive(tb testing.TB, handle http.HandlerFunc) receiver {
	r := receiver{calls: make(chan string, 100)}
	r.url = serveHTTP(tb, func(w http.ResponseWriter, req *http.Request) {
		r.calls <- fmt.Sprintf("%s %s?%s", req.Method, req.URL.Path, req.URL.RawQuery)
		handle(w, req)
	})
	return r
}

// next waits for n callbacks.
func (r receiver) next(tb testing.TB, n int) (calls []string) {
	tb.Helper()
	limit := time.After(patience)
	for range n {
		select {
		case c := <-r.calls:
			calls = append(calls, c)
		case <-limit:
			tb.Fatalf("got %d callbacks, want %d: %q", len(calls), n, calls)
		}
	}
	return calls
}

func well(http.ResponseWriter, *http.Request) {}

// Every state is told, in order, and each once when it is taken.
func TestCallbacks(t *testing.T) {
	r := receive(t, well)
	d := serve(t)
	for name, c := range map[string]struct {
		request proc.Request
		states  []string
	}{
		"done":                {proc.Request{Command: proc.Shell("true")}, []string{"init", "boot", "running", "done"}},
		"fail":                {proc.Request{Command: proc.Shell("false")}, []string{"init", "boot", "running", "fail"}},
		"not executed":        {proc.Request{Command: proc.Exec("/no/such")}, []string{"init", "boot", "fail"}},
		"no such image":       {proc.Request{Image: r.url + "x", Command: proc.Shell("true")}, []string{"init", "boot", "fail"}},
		"no such template":    {proc.Request{Template: "none", Command: proc.Shell("true")}, []string{"init", "boot", "fail"}},
		"a name to be quoted": {proc.Request{Name: "web-1.x_y", Command: proc.Shell("true")}, []string{"init", "boot", "running", "done"}},
	} {
		t.Run(name, func(t *testing.T) {
			c.request.Callback = r.url + "hook?token=a%26b"
			p := d.in(t).create(c.request)
			want := []string{}
			for _, s := range c.states {
				want = append(want, fmt.Sprintf("POST /hook?token=a%%26b&name=%s&port=%d&state=%s", p.Name, p.Port, s))
			}
			if c.request.Image != "" { // its fetch is heard too
				want = slices.Insert(want, 2, "GET /x?")
			}
			got := r.next(t, len(want))
			if c.request.Image != "" { // and no order is promised between it and the callbacks
				slices.Sort(got)
				slices.Sort(want)
			}
			if !slices.Equal(got, want) {
				t.Errorf("got\n%q\nwant\n%q", got, want)
			}
			d.in(t).wait(p.ID)
		})
	}
	if len(r.calls) > 0 {
		t.Errorf("one more: %q", <-r.calls)
	}
}

// A receiver that is broken, that is not there or that never answers holds no
// proc up: not its start, not its end, not its removal.
func TestBrokenCallbacks(t *testing.T) {
	release := make(chan struct{})
	hanging := receive(t, func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-release:
		case <-r.Context().Done():
		}
	})
	failing := receive(t, func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusInternalServerError) })
	moving := receive(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://169.254.169.254/", http.StatusTemporaryRedirect)
	})
	d := serve(t)
	for name, url := range map[string]string{"hangs": hanging.url, "fails": failing.url, "redirects": moving.url, "is not there": "http://127.0.0.1:1/"} {
		t.Run(name, func(t *testing.T) {
			d := d.in(t)
			start := time.Now()
			p := d.create(proc.Request{Name: "short", Command: proc.Shell("echo ran"), Callback: url})
			if p = d.wait(p.ID); p.State != proc.Done || d.output(p.ID) != "ran\n" {
				t.Errorf("got %+v", p)
			}
			d.remove(p.ID)
			if took := time.Since(start); took > 5*time.Second {
				t.Errorf("it took %v", took)
			}
		})
	}
	// Each is told no more than the first state until it takes that.
	for _, r := range []receiver{hanging, failing, moving} {
		if got := r.next(t, 1)[0]; !strings.HasSuffix(got, "state=init") {
			t.Errorf("got %s", got)
		}
	}
	close(release)
	hanging.next(t, 3) // what waited is told after all, though its proc is gone
}

// A receiver that never answers does not hold up the daemon's end either.
func TestStopWithHangingCallback(t *testing.T) {
	hanging := receive(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	d := serve(t, "--grace", "1s")
	p := d.run(proc.Request{Command: proc.Shell("true"), Callback: hanging.url})
	hanging.next(t, 1)
	d.create(proc.Request{Command: proc.Shell("sleep 1000"), Callback: hanging.url})
	hanging.next(t, 1)
	start := time.Now()
	d.stop()
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("the daemon's end took %v; the callbacks of %s hang", took, p.ID)
	}
}
