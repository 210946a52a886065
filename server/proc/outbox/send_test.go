package outbox

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// The vector is that of the Standard Webhooks libraries' own tests.
func TestSign(t *testing.T) {
	const (
		secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
		want   = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
	)
	s, err := ParseSecret(secret)
	if err != nil {
		t.Fatal(err)
	}
	got := sign([]Secret{s}, "msg_p5jXN8AQM9LWM0D4loKWxJek", time.Unix(1614265330, 0), []byte(`{"test": 2432232314}`))
	if got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	other := Secret(secretPrefix + "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")
	if got := sign([]Secret{s, other}, "a", time.Now(), nil); len(strings.Fields(got)) != 2 || strings.Fields(got)[0] == strings.Fields(got)[1] {
		t.Errorf("got %s", got)
	}
}

func TestSecret(t *testing.T) {
	for _, bad := range []string{"", "secret", "whsec_", "whsec_c2hvcnQ=", "whsec_***", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_" + strings.Repeat("AAAA", 22), "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw "} {
		if _, err := ParseSecret(bad); err == nil || bad != "" && strings.Contains(err.Error(), bad) && bad != secretPrefix {
			t.Errorf("%q: %v", bad, err)
		}
	}
	s := Secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "secret", s)
	target := Target{URL: "http://h/", Secret: s}
	for _, shown := range []string{fmt.Sprint(s), fmt.Sprintf("%q %#v %+v %#v", s, s, target, target), log.String()} {
		if strings.Contains(shown, "MfKQ") {
			t.Errorf("it shows: %s", shown)
		}
	}
}

// What is added to a URL leaves the rest of it as it was given.
func TestAddress(t *testing.T) {
	e := Event{Name: "web 1&", Port: 10001, State: "running"}
	for in, want := range map[string]string{
		"http://x/cb":       "http://x/cb?name=web+1%26&port=10001&state=running",
		"http://x/cb?a=b;c": "http://x/cb?a=b;c&name=web+1%26&port=10001&state=running",
		"http://x":          "http://x?name=web+1%26&port=10001&state=running",
	} {
		if got, err := address(in, e); got != want || err != nil {
			t.Errorf("%s: got %s %v, want %s", in, got, err, want)
		}
	}
}

// With a secret, a delivery has a body that says all, and a signature of it,
// made anew for each attempt.
func TestSigned(t *testing.T) {
	const own, first, second = "whsec_b3duIHNlY3JldCBvZiBvbmUgcHJvYyE=", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFB"
	w, r := newWorld(t, func(c *Config) { c.Secrets = []Secret{first, second} }), newReceiver(t)
	w.start()
	r.answers(status(http.StatusInternalServerError))
	code, ended := 3, time.Date(2026, 1, 1, 1, 1, 1, 0, time.UTC)
	e := event(a, 1, "fail")
	e.Reason, e.ExitCode, e.Ended = "exit status 3", &code, &ended
	if err := errors.Join(w.Append(Target{URL: r.url}, e), w.Append(Target{URL: r.url, Secret: own}, event(b_, 1, "init"))); err != nil {
		t.Fatal(err)
	}
	w.idle()
	w.restart()
	w.start()
	w.advance(2 * time.Second)
	var signatures []string
	for n, req := range r.got {
		id, text := req.Header.Get("Webhook-Id"), r.bodies[n]
		at, err := strconv.ParseInt(req.Header.Get("Webhook-Timestamp"), 10, 64)
		if err != nil || req.Header.Get("Content-Type") != "application/json" {
			t.Errorf("headers %v", req.Header)
		}
		secrets := []Secret{first, second}
		if strings.HasPrefix(id, b_) {
			secrets = []Secret{own}
		} else if text != `{"type":"proc.state","timestamp":"2026-01-01T00:00:01Z","data":{"proc":"`+a+`","app":"blog","name":"web.1","port":10001,"seq":1,`+
			`"state":"fail","reason":"exit status 3","exit_code":3,"ended":"2026-01-01T01:01:01Z"}}` {
			t.Errorf("body %s", text)
		}
		got := req.Header.Get("Webhook-Signature")
		if want := sign(secrets, id, time.Unix(at, 0), []byte(text)); got != want {
			t.Errorf("%s: got %s, want %s", id, got, want)
		}
		signatures = append(signatures, got)
	}
	if len(signatures) != 4 || signatures[0] == signatures[2] || signatures[0] == signatures[3] {
		t.Errorf("got %q", signatures)
	}
	if text, err := json.Marshal(w.List()); err != nil || strings.Contains(string(text)+w.log.String(), "whsec_") {
		t.Errorf("a secret is shown: %s %v\n%s", text, err, w.log)
	}
}

// Neither the list nor the log tells what is in the URL beyond the host, however
// the attempt fails, and the files are ours alone.
func TestNothingIsTold(t *testing.T) {
	const path = "/hook/s3cret?token=s3cret"
	broken := newReceiver(t)
	broken.answers(func(w http.ResponseWriter, _ *http.Request) {
		c, _, err := w.(http.Hijacker).Hijack()
		if err == nil {
			c.Write([]byte("HTTP/1.1 \x1b[2J" + strings.Repeat("x", 1000) + "\r\n\r\n"))
			c.Close()
		}
	})
	redirect := newReceiver(t)
	redirect.answers(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://127.0.0.1:1/s3cret", http.StatusTemporaryRedirect)
	})
	w := newWorld(t)
	w.start()
	for n, base := range []string{broken.url, redirect.url, "http://127.0.0.1:1", "http://no-such-host.invalid", "http://%zz", "https://" + strings.TrimPrefix(broken.url, "http://")} {
		w.append(procName(n), base+path, 1, "init")
		w.idle()
		all := w.List()
		c := all[len(all)-1]
		if c.Attempts != 1 || c.LastError == "" || len(c.LastError) > maxReason || strings.ContainsRune(c.LastError, '\x1b') {
			t.Errorf("%s: got %+v", base, c)
		}
	}
	text, err := json.Marshal(w.List())
	if err != nil || strings.Contains(string(text)+w.log.String(), "s3cret") {
		t.Errorf("shown: %s %v\n%s", text, err, w.log)
	}
	for _, name := range w.files() {
		if st, err := os.Stat(filepath.Join(w.cfg.Dir, name)); err != nil || st.Mode() != 0o600 {
			t.Errorf("%s: %v %v", name, st.Mode(), err)
		}
	}
}

// A receiver that never answers is in nobody's way: not of other receivers, not
// of the end, which leaves what it was sent to the next start.
func TestSlowReceiver(t *testing.T) {
	w, slow, quick := newWorld(t, func(c *Config) { c.limits.flights = 4; c.limits.perHost = 2 }), newReceiver(t), newReceiver(t)
	arrived := make(chan struct{}, 10)
	slow.answers(func(_ http.ResponseWriter, r *http.Request) {
		arrived <- struct{}{}
		<-r.Context().Done()
	})
	taken := make(chan struct{}, 10)
	quick.answers(func(http.ResponseWriter, *http.Request) { taken <- struct{}{} })
	w.Start(everyProc)
	for n := range 5 {
		w.append(procName(n), slow.url, 1, "init", "boot")
	}
	<-arrived
	<-arrived
	for n := range 5 {
		w.append(procName(10+n), quick.url, 1, "init")
		<-taken
	}
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	w.Close(ctx) // comes back, though nobody answers
	slow.wants(t, "1 init", "1 init")
	list := w.List()
	if len(list) != 10 {
		t.Fatalf("got %+v", list)
	}
	for _, c := range list {
		if c.Attempts != 0 || c.LastError != "" {
			t.Errorf("our own end counts as its failure: %+v", c)
		}
	}
	w.append(procName(0), slow.url, 3, "running") // too late for this one
	slow.answers(nil)
	w.open()
	w.start()
	if got := slow.take(); len(got) != 11 {
		t.Errorf("got %q", got)
	}
}

// The end waits for what is due, and for nothing else.
func TestClose(t *testing.T) {
	w, r := newWorld(t), newReceiver(t)
	failing := newReceiver(t)
	failing.answers(status(http.StatusInternalServerError))
	w.Start(everyProc)
	w.append(a, r.url, 1, life...)
	w.append(b_, failing.url, 1, life...)
	w.Close(context.Background())
	r.wants(t, told...)
	failing.wants(t, told[0])
	w.Close(context.Background()) // once more does nothing

	never := newWorld(t)
	never.append(a, r.url, 1, life...)
	never.Close(context.Background()) // never started
	r.wants(t)
}

// An answer without end is taken for its status, and not read to its end.
func TestEndlessAnswer(t *testing.T) {
	w, r := newWorld(t), newReceiver(t)
	r.answers(func(w http.ResponseWriter, _ *http.Request) {
		for text := make([]byte, 64<<10); ; {
			if _, err := w.Write(text); err != nil {
				return
			}
		}
	})
	w.start()
	w.append(a, r.url, 1, life...)
	w.idle()
	if s := w.Stats(); s.Delivered != 4 || s.Failed != 0 {
		t.Errorf("got %+v", s)
	}
}

// A timeout is told as one.
func TestTimeout(t *testing.T) {
	w, r := newWorld(t, func(c *Config) { c.limits.timeout = 10 * time.Millisecond }), newReceiver(t)
	r.answers(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	w.start()
	w.append(a, r.url, 1, "init")
	w.idle()
	if got := w.List()[0].LastError; got != "no answer in time" {
		t.Errorf("got %q", got)
	}
}

// Many procs at once, on a clock that runs, with an operator in between.
func TestConcurrent(t *testing.T) {
	const procs, events = 20, 25
	w, r := newWorld(t, func(c *Config) {
		c.clock, c.random, c.MaxBackoff, c.limits.rewrite = nil, nil, time.Millisecond, 500
		c.Log = nil
	}), newReceiver(t)
	var n sync.Map
	done := make(chan struct{}, procs*events)
	r.answers(func(w http.ResponseWriter, r *http.Request) {
		if _, again := n.LoadOrStore(r.Header.Get("Webhook-Id"), true); !again {
			w.WriteHeader(http.StatusInternalServerError) // each is refused once
			return
		}
		done <- struct{}{}
	})
	w.Start(everyProc)
	var all sync.WaitGroup
	for p := range procs {
		u, err := url.Parse(r.url)
		if err != nil {
			t.Fatal(err)
		}
		all.Go(func() {
			for e := range events {
				if err := w.Append(Target{URL: u.String()}, event(procName(p), uint64(e+1), "s")); err != nil {
					t.Error(err)
				}
				w.Stats()
				w.List()
				w.Retry(id(procName(p), uint64(e)))
			}
			w.Forget(procName(p))
		})
	}
	all.Wait()
	for range procs * events {
		<-done
	}
	w.Close(context.Background())
	if got := w.files(); len(got) != 0 {
		t.Errorf("left: %q", got)
	}
	if s := w.Stats(); s.Delivered != procs*events || s.Pending != 0 || s.Failed != procs*events {
		t.Errorf("got %+v", s)
	}
	last := map[string]uint64{}
	for _, req := range r.got {
		proc, seq, err := splitID(req.Header.Get("Webhook-Id"))
		if err != nil || seq < last[proc] || seq > last[proc]+1 {
			t.Fatalf("%s after %d: %v", req.Header.Get("Webhook-Id"), last[proc], err)
		}
		last[proc] = seq
	}
}

// BenchmarkAppend is what a change of state costs a proc that has a callback.
func BenchmarkAppend(b *testing.B) {
	o, err := Open(Config{Dir: filepath.Join(b.TempDir(), "outbox")})
	if err != nil {
		b.Fatal(err)
	}
	o.cfg.limits.perProc = 1 << 30
	for seq := uint64(1); b.Loop(); seq++ {
		if err := o.Append(Target{URL: "http://127.0.0.1:1/"}, event(procName(int(seq/100)), seq, "running")); err != nil {
			b.Fatal(err)
		}
	}
}
