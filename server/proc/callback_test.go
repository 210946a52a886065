package proc

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gilliam/hypervisor/rootfs"
)

// A proc whose record is ahead of the outbox, because the hypervisor was killed
// between the two, is told at the next start, and just once. One that was
// removed meanwhile is told, too.
func TestRecordAheadOfOutbox(t *testing.T) {
	calls := make(chan string, 100)
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		calls <- r.Header.Get("Webhook-Id") + " " + r.URL.Query().Get("state")
		if !strings.HasPrefix(r.Header.Get("Webhook-Signature"), "v1,") {
			t.Errorf("not signed: %v", r.Header)
		}
	}))
	defer receiver.Close()
	state, run := t.TempDir(), t.TempDir()
	layers, err := rootfs.OpenLayers(filepath.Join(state, "layers"))
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	open := func() *Manager {
		m, err := Open(Config{StateDir: state, RunDir: run, Layers: layers, Log: slog.New(slog.NewTextHandler(&log, nil))})
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	ended := time.Now().UTC()
	id := func(n int) string { return fmt.Sprintf("00000000-0000-4000-8000-%012d", n) }
	const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	for n, p := range []Proc{
		{State: Done, Seq: 4, Callback: receiver.URL},
		{State: Fail, Seq: 3, Callback: receiver.URL},
		{State: Done, Seq: 4},                         // nobody to tell
		{State: Done, Seq: 0, Callback: receiver.URL}, // recorded before changes were counted
	} {
		p.ID, p.Ended = id(n), &ended
		dir := filepath.Join(state, "procs", p.ID)
		if err := errors.Join(os.MkdirAll(dir, 0o700), writeRecord(dir, record{Proc: p, CallbackSecret: secret})); err != nil {
			t.Fatal(err)
		}
	}
	m := open()
	got := map[string]bool{<-calls: true, <-calls: true}
	if !got[id(0)+"-4 done"] || !got[id(1)+"-3 fail"] {
		t.Errorf("told %v", got)
	}
	if i, err := m.get(id(0)); err != nil || i.recorded().CallbackSecret != secret || strings.Contains(fmt.Sprintf("%+v", i.recorded()), "MfKQ") {
		t.Errorf("got %+v %v", i.recorded(), err)
	}
	closed(t, m)
	m = open()
	if err := m.Remove(t.Context(), id(0), 0); err != nil {
		t.Error(err)
	}
	closed(t, m)
	if len(calls) > 0 {
		t.Errorf("told again: %s", <-calls)
	}
	left, err := filepath.Glob(filepath.Join(state, "outbox", "*"))
	if err != nil || len(left) != 1 || filepath.Base(left[0]) != id(1)+".log" {
		t.Errorf("left %q %v", left, err)
	}
	if text := log.String(); strings.Contains(text, "level=ERROR") || strings.Contains(text, "MfKQ") {
		t.Errorf("log: %s", text)
	}
}

func closed(t *testing.T, m *Manager) {
	t.Helper()
	if err := m.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

// The event of a state is the same when it is made from the record later.
func TestEventOfRecord(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "id-1")
	code, at := 3, time.Now().UTC()
	p := Proc{ID: "id-1", App: "blog", Name: "web.1", Port: 10001, State: Fail, Seq: 4, Changed: at, Ended: &at, Started: &at,
		ExitCode: &code, Reason: strings.Repeat("é", maxReason), Callback: "http://h/"}
	if err := errors.Join(os.Mkdir(dir, 0o700), writeRecord(dir, record{Proc: p})); err != nil {
		t.Fatal(err)
	}
	again, err := readRecord(dir)
	if err != nil {
		t.Fatal(err)
	}
	first, second := eventOf(p), eventOf(again.Proc)
	if fmt.Sprintf("%+v", *first.ExitCode) != fmt.Sprintf("%+v", *second.ExitCode) || !first.At.Equal(second.At) || !first.Ended.Equal(*second.Ended) ||
		first.Reason != second.Reason || len(first.Reason) != maxReason || first.Seq != second.Seq || first.State != second.State {
		t.Errorf("got %+v, was %+v", second, first)
	}
	again.Proc.State, again.Proc.ExitCode = Restarting, nil
	again.Proc.Last = &End{At: at, Reason: "exit status 3", ExitCode: &code}
	if e := eventOf(again.Proc); e.State != "restarting" || e.ExitCode == nil || *e.ExitCode != 3 || e.Reason != "exit status 3" || !e.Ended.Equal(at) {
		t.Errorf("got %+v", e)
	}
}
