package server

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/gilliam/hypervisor/server/proc"
)

func lines(t0 time.Time) []proc.LogLine {
	return []proc.LogLine{
		{Time: t0, Stream: "stdout", Text: []byte("one")},
		{Time: t0, Stream: "stdout", Text: []byte("tw"), Partial: true},
		{Time: t0, Stream: "stdout", Text: []byte("o")},
		{Time: t0, Stream: "stderr", Text: []byte("thr"), Partial: true},
		{Time: t0, Stream: "stdout", Text: []byte("cut\xff in")},
	}
}

func TestLogs(t *testing.T) {
	w := newWorld(t)
	t0 := time.Date(2026, 1, 2, 3, 4, 5, 6000, time.FixedZone("", 3600))
	p := w.procs.add(proc.Proc{State: proc.Done}, lines(t0)...)
	const at = "2026-01-02T02:04:05.000006Z "
	tests := []struct{ query, accept, want string }{
		{"", "", "one\ntwo\nthr\ncut\xff in\n"},
		{"?tail=1", "", "cut\xff in\n"},
		{"?tail=0", "", ""},
		{"?tail=99&follow=true", "text/plain", "one\ntwo\nthr\ncut\xff in\n"},
		{"?timestamps=true", "*/*", at + "one\n" + at + "two\n" + at + "thr\n" + at + "cut\xff in\n"},
	}
	for _, tt := range tests {
		got := call(t, w.unix.URL, "GET", "/v1/procs/"+p.ID+"/logs"+tt.query, "", "Accept", tt.accept)
		if got.StatusCode != 200 || got.body != tt.want || got.Header.Get("Content-Type") != "text/plain; charset=utf-8" {
			t.Errorf("%s: got %d %q, want %q", tt.query, got.StatusCode, got.body, tt.want)
		}
	}

	got := call(t, w.unix.URL, "GET", "/v1/procs/"+p.ID+"/logs", "", "Accept", "text/html, application/x-ndjson;q=0.9")
	if got.Header.Get("Content-Type") != MIMELines {
		t.Errorf("Content-Type %q", got.Header.Get("Content-Type"))
	}
	dec := json.NewDecoder(strings.NewReader(got.body))
	for _, want := range lines(t0) {
		var l LogLine
		if err := dec.Decode(&l); err != nil {
			t.Fatal(err)
		}
		if text := l.Text + string(l.Bytes); text != string(want.Text) || l.Partial != want.Partial || l.Stream != want.Stream || !l.Time.Equal(t0) {
			t.Errorf("got %+v, want %+v", l, want)
		}
	}
}

func TestLogsSince(t *testing.T) {
	w := newWorld(t)
	now := time.Now()
	var written []proc.LogLine
	for _, ago := range []time.Duration{2 * time.Hour, 30 * time.Minute, 0} {
		written = append(written, proc.LogLine{Time: now.Add(-ago), Stream: "stdout", Text: []byte(ago.String())})
	}
	p := w.procs.add(proc.Proc{State: proc.Done}, written...)
	hourAgo := now.Add(-time.Hour)
	for query, want := range map[string]string{
		"":                           "2h0m0s\n30m0s\n0s\n",
		"since=1h":                   "30m0s\n0s\n",
		"since=1h&tail=1":            "0s\n",
		"since=400h30m":              "2h0m0s\n30m0s\n0s\n",
		"since=2999-01-01T00:00:00Z": "",
		"since=" + hourAgo.UTC().Format(time.RFC3339Nano):                                     "30m0s\n0s\n",
		"since=" + url.QueryEscape(hourAgo.In(time.FixedZone("", 3600)).Format(time.RFC3339)): "30m0s\n0s\n",
	} {
		if got := call(t, w.unix.URL, "GET", "/v1/procs/"+p.ID+"/logs?"+query, ""); got.StatusCode != 200 || got.body != want {
			t.Errorf("%s: got %d %q, want %q", query, got.StatusCode, got.body, want)
		}
	}
}

// What is missing is told where it is missing.
func TestLogsLost(t *testing.T) {
	w := newWorld(t)
	p := w.procs.add(proc.Proc{State: proc.Done},
		proc.LogLine{Lost: 7}, proc.LogLine{Stream: "stdout", Text: []byte("a"), Partial: true},
		proc.LogLine{Stream: "stderr", Lost: 5}, proc.LogLine{Stream: "stdout", Text: []byte("b")})
	const times = "0001-01-01T00:00:00.000000Z "
	for query, want := range map[string]string{
		"":                "[7 bytes not kept]\na\n[5 bytes not kept]\nb\n",
		"timestamps=true": times + "[7 bytes not kept]\n" + times + "a\n" + times + "[5 bytes not kept]\n" + times + "b\n",
	} {
		if got := call(t, w.unix.URL, "GET", "/v1/procs/"+p.ID+"/logs?"+query, ""); got.body != want {
			t.Errorf("%s: got %q, want %q", query, got.body, want)
		}
	}
	got := call(t, w.unix.URL, "GET", "/v1/procs/"+p.ID+"/logs?tail=2", "", "Accept", MIMELines)
	if want := `"stream":"stderr","text":"","lost":5}`; !strings.Contains(got.body, want) {
		t.Errorf("no %s in %s", want, got.body)
	}
}

// open starts a request for logs and reads their first line.
func open(t *testing.T, url string) (*http.Response, *bufio.Reader) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { res.Body.Close() })
	r := bufio.NewReader(res.Body)
	if line, err := r.ReadString('\n'); line != "one\n" || err != nil {
		t.Fatalf("got %q, %v", line, err)
	}
	return res, r
}

// A follower gets the lines while the proc runs, and a clean end with it.
func TestFollow(t *testing.T) {
	w := newWorld(t)
	p := w.procs.add(proc.Proc{State: proc.Running}, lines(time.Now())...)
	_, r := open(t, w.unix.URL+"/v1/procs/"+p.ID+"/logs?follow=true")
	w.procs.end(p, proc.Done)
	if rest, err := io.ReadAll(r); err != nil || !strings.HasSuffix(string(rest), " in\n") {
		t.Errorf("got %q, %v", rest, err)
	}
}

// A stream that the server's end cuts off does not look whole.
func TestFollowIsCutOffAtShutdown(t *testing.T) {
	w := newWorld(t)
	p := w.procs.add(proc.Proc{State: proc.Running}, lines(time.Now())...)
	_, r := open(t, w.unix.URL+"/v1/procs/"+p.ID+"/logs?follow=true")
	w.srv.endStreams()
	if _, err := io.ReadAll(r); err == nil {
		t.Error("the stream ended as if it were whole")
	}
	if got := call(t, w.unix.URL, "GET", "/v1/procs/"+p.ID+"/wait?timeout=1m", ""); got.StatusCode != 503 {
		t.Errorf("wait at shutdown: %d", got.StatusCode)
	}
}

// Many lines go out in whole batches, none is lost, and a client that has gone
// stops the reading.
func TestLogFlood(t *testing.T) {
	w := newWorld(t)
	flood := make([]proc.LogLine, 100_000)
	for i := range flood {
		flood[i] = proc.LogLine{Stream: "stdout", Text: []byte("one")}
	}
	p := w.procs.add(proc.Proc{State: proc.Running}, flood...)
	if got := call(t, w.unix.URL, "GET", "/v1/procs/"+p.ID+"/logs", ""); got.body != strings.Repeat("one\n", len(flood)) {
		t.Errorf("got %d bytes", len(got.body))
	}
	res, _ := open(t, w.unix.URL+"/v1/procs/"+p.ID+"/logs?follow=true")
	res.Body.Close()
	w.unix.Close() // waits for the handler
}

type failingWriter struct{ http.ResponseWriter }

var errGone = errors.New("gone")

func (failingWriter) Write([]byte) (int, error) { return 0, errGone }

func TestBatcher(t *testing.T) {
	b := newBatcher(failingWriter{}, timeouts{batch: time.Hour})
	line := proc.LogLine{Stream: "stdout", Text: make([]byte, batchSize)}
	if err := b.add(line, linesFormat); !errors.Is(err, errGone) {
		t.Errorf("got %v", err)
	}
	if err := b.add(line, linesFormat); !errors.Is(err, errGone) {
		t.Errorf("after a failure: %v", err)
	}
	if err := b.close(); !errors.Is(err, errGone) {
		t.Errorf("close: %v", err)
	}
	if err := b.add(line, linesFormat); !errors.Is(err, errBatcherClosed) {
		t.Errorf("after close: %v", err)
	}
}
