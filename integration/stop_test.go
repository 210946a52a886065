//go:build integration

package integration

import (
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/gilliam/hypervisor/server/proc"
)

// Commands to be stopped. Each says when it is up.
const (
	obeys   = `trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 1000 & wait; done`
	counts  = `trap 'echo term' TERM; echo up; while :; do sleep 1000 & wait; done`
	ignores = `trap '' TERM; echo up; while :; do sleep 1000; done`
	deserts = `(trap '' TERM; setsid sleep 1000 &) ; trap 'exit 3' TERM; echo up; while :; do sleep 1000 & wait; done`
)

// A stop ends a proc as the proc itself chooses while the grace lasts, and by
// force then. The default is the original's order of signals.
func TestStop(t *testing.T) {
	const byRequest = "stopped by request"
	d := serve(t)
	var all sync.WaitGroup
	for _, c := range []struct {
		name, command, query string
		state                proc.State
		code                 int
		signal, reason       string
		from, to             time.Duration   // how long it takes
		terms                []time.Duration // when it hears SIGTERM
	}{
		{name: "obeys", command: obeys, state: proc.Done, to: 2 * time.Second},
		{name: "obeys in time", command: obeys, query: "?grace=1h", state: proc.Done, to: 2 * time.Second},
		{name: "ignores it", command: ignores, query: "?grace=1s", state: proc.Fail, code: 137, signal: "SIGKILL", reason: byRequest,
			from: time.Second, to: 2 * time.Second},
		{name: "is given no time", command: ignores, query: "?grace=0s", state: proc.Fail, code: 137, signal: "SIGKILL", reason: byRequest, to: 2 * time.Second},
		{name: "leaves one behind", command: deserts, query: "?grace=1h", state: proc.Fail, code: 3, reason: byRequest, to: 2 * time.Second},
		{name: "hears the original's order", command: counts, state: proc.Fail, code: 137, signal: "SIGKILL", reason: byRequest,
			from: 8 * time.Second, to: 10 * time.Second, terms: []time.Duration{0, time.Second, 3 * time.Second}},
	} {
		p := d.create(proc.Request{Command: proc.Shell(c.command)})
		f := d.follow(p.ID)
		f.until("stdout: up")
		all.Go(func() {
			start := time.Now()
			a := d.do(http.MethodPost, "/v1/procs/"+p.ID+"/stop"+c.query, nil)
			took := time.Since(start)
			p := decode[proc.Proc](t, a)
			if a.status != http.StatusOK || p.State != c.state || p.ExitCode == nil || *p.ExitCode != c.code || p.Signal != c.signal || p.Reason != c.reason {
				t.Errorf("%s: got %s", c.name, a)
			}
			if took < c.from || took > c.to {
				t.Errorf("%s: took %v, want %v to %v", c.name, took, c.from, c.to)
			}
			if c.terms != nil {
				heard(t, f, start, c.terms)
			}
		})
	}
	all.Wait()
	for _, p := range d.list("") { // another stop changes nothing
		if again := d.stopProc(p.ID, "?grace=0s"); again.State != p.State || !again.Ended.Equal(*p.Ended) {
			t.Errorf("got %+v, was %+v", again, p)
		}
	}
}

// heard checks when a proc said that it heard SIGTERM.
func heard(t *testing.T, f *follower, start time.Time, want []time.Duration) {
	var got []time.Duration
	for l, ok := f.next(); ok; l, ok = f.next() {
		if l.Text == "term" {
			got = append(got, l.Time.Sub(start))
		}
	}
	const late = 900 * time.Millisecond
	if !slices.EqualFunc(got, want, func(got, want time.Duration) bool { return got >= want && got < want+late }) {
		t.Errorf("SIGTERM was heard after %v, want %v", got, want)
	}
}

// Wait answers when the proc has ended, and otherwise when the time is over.
func TestWait(t *testing.T) {
	d := serve(t)
	p := d.create(proc.Request{Command: proc.Shell(obeys)})
	d.follow(p.ID).until("stdout: up")
	start := time.Now()
	var still proc.Proc
	d.want(http.StatusAccepted, http.MethodGet, "/v1/procs/"+p.ID+"/wait?timeout=300ms", nil, &still)
	if took := time.Since(start); still.State != proc.Running || took < 300*time.Millisecond || took > 3*time.Second {
		t.Errorf("after %v: got %+v", took, still)
	}
	d.want(http.StatusAccepted, http.MethodGet, "/v1/procs/"+p.ID+"/wait?timeout=0s", nil, nil)

	ended := make(chan answer, 3)
	for range cap(ended) {
		// Owned by the test, which receives as many times.
		go func() { ended <- d.do(http.MethodGet, "/v1/procs/"+p.ID+"/wait?timeout=1m", nil) }()
	}
	d.stopProc(p.ID, "")
	for range cap(ended) {
		if a := soon(t, ended, "the wait"); a.status != http.StatusOK || decode[proc.Proc](t, a).State != proc.Done {
			t.Errorf("got %s", a)
		}
	}
}

// Logs are told from where the client says, as they come when it follows, and
// end with the proc.
func TestLogs(t *testing.T) {
	d := serve(t)
	p := d.create(proc.Request{Command: proc.Shell(`echo one; echo; printf 'no newline \303\244 <&>\n'; ` + obeys)})
	f := d.follow(p.ID)
	f.until("stdout: up")
	if got, want := d.logs(p.ID, ""), []string{"stdout: one", "stdout: ", "stdout: no newline ä <&>", "stdout: up"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := d.logs(p.ID, "?tail=1"); !slices.Equal(got, []string{"stdout: up"}) {
		t.Errorf("tail=1: got %q", got)
	}
	if got := d.logs(p.ID, "?tail=0"); len(got) != 0 {
		t.Errorf("tail=0: got %q", got)
	}
	d.stopProc(p.ID, "")
	f.until("stdout: bye")
	if l, ok := f.next(); ok {
		t.Errorf("after the end: %+v", l)
	}
	if got, want := d.logs(p.ID, "?tail=2"), []string{"stdout: up", "stdout: bye"}; !slices.Equal(got, want) {
		t.Errorf("tail=2: got %q, want %q", got, want)
	}
	if got := d.logs(p.ID, "?follow=true"); len(got) != 5 {
		t.Errorf("follow after the end: got %q", got)
	}
	if a := d.do(http.MethodGet, "/v1/procs/"+p.ID+"/logs?tail=2", nil); a.body != "up\nbye\n" || a.header.Get("Content-Type") != "text/plain; charset=utf-8" {
		t.Errorf("as text: got %s", a)
	}
}

// Nothing is lost between an app that ends at once and its log.
func TestLogsAreWhole(t *testing.T) {
	d := serve(t)
	for range 3 {
		p := d.run(proc.Request{Command: proc.Exec("/usr/bin/seq", "20000")})
		if got := d.logs(p.ID, ""); len(got) != 20000 || got[0] != "stdout: 1" || got[19999] != "stdout: 20000" {
			t.Errorf("got %d lines, want 20000", len(got))
		}
	}
}
