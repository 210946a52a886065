package outbox

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gilliam/hypervisor/isolate/safely"
)

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

// A panic while an event is sent is a failed attempt, and it is told of.
func TestPanic(t *testing.T) {
	broken := &clumsy{}
	w, r := newWorld(t, func(c *Config) {
		broken.HTTPClient = c.Client
		c.Client, c.Guard = broken, safely.Guard{Log: c.Log}
	}), newReceiver(t)
	w.start()
	broken.panic = true
	w.append(a, r.url, 1, "init")
	w.idle()
	if got := w.List(); len(got) != 1 || got[0].Attempts != 1 || got[0].LastError != "bug: panic: out of cheese" {
		t.Errorf("got %+v", got)
	}
	if log := w.log.String(); !strings.Contains(log, "where=callback") || !strings.Contains(log, "send.go") {
		t.Errorf("log: %s", log)
	}
	broken.panic = false
	w.advance(2 * time.Second)
	r.wants(t, told[0])
}

// A clumsy client panics when it is told to.
type clumsy struct {
	HTTPClient
	panic bool
}

func (c *clumsy) Do(r *http.Request) (*http.Response, error) {
	if c.panic {
		panic("out of cheese")
	}
	return c.HTTPClient.Do(r)
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
