package proc

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gilliam/hypervisor/isolate"
)

// Every pair of states: what is not a legal move is refused.
func TestTransitions(t *testing.T) {
	legal := map[[2]State]bool{
		{Init, Boot}: true, {Init, Fail}: true, {Boot, Running}: true, {Boot, Fail}: true,
		{Running, Done}: true, {Running, Fail}: true,
	}
	for _, from := range States {
		for _, to := range States {
			if got := from.may(to); got != legal[[2]State{from, to}] {
				t.Errorf("%s to %s: %v", from, to, got)
			}
		}
	}
	for _, s := range States {
		if !s.Valid() || s.Ended() != (len(edges[s]) == 0) {
			t.Errorf("%s: valid %v, ended %v", s, s.Valid(), s.Ended())
		}
	}
	if State("").Valid() || State("dead").Valid() {
		t.Error("a state that is none is valid")
	}
}

func TestOutcome(t *testing.T) {
	at := time.Now()
	boom := errors.New("boom")
	for _, c := range []struct {
		name     string
		state    State
		stopping bool
		exit     isolate.Exit
		err      error
		want     State
		code     int // -1: none
		reason   string
	}{
		{"exit 0", Running, false, isolate.Exit{At: at}, nil, Done, 0, ""},
		{"exit 3", Running, false, isolate.Exit{Code: 3, At: at}, nil, Fail, 3, "exit status 3"},
		{"signal", Running, false, isolate.Exit{Code: 137, Signal: 9, At: at}, nil, Fail, 137, "ended by signal SIGKILL"},
		{"oom", Running, false, isolate.Exit{Code: 137, Signal: 9, OOMKilled: true, At: at}, nil, Fail, 137, "out of memory"},
		{"a child was killed for memory", Running, false, isolate.Exit{OOMKilled: true, At: at}, nil, Done, 0, ""},
		{"stopped", Running, true, isolate.Exit{Code: 143, Signal: 15, At: at}, nil, Fail, 143, "stopped by request"},
		{"stopped well", Running, true, isolate.Exit{At: at}, nil, Done, 0, ""},
		{"stopped in boot", Boot, true, isolate.Exit{}, boom, Fail, -1, "stopped by request before it ran"},
		{"image", Boot, false, isolate.Exit{}, boom, Fail, -1, "boom"},
		{"not found", Boot, false, isolate.Exit{}, &isolate.ExecError{Path: "/x", Err: os.ErrNotExist}, Fail, 126, "exec /x"},
		{"broken", Running, false, isolate.Exit{Code: 255, Err: boom, At: at}, nil, Fail, 255, "boom"},
	} {
		i := &instance{p: Proc{State: c.state}, stopping: c.stopping}
		next, change := i.outcome(c.exit, c.err)
		p := Proc{PID: 7}
		change(&p)
		code := -1
		if p.ExitCode != nil {
			code = *p.ExitCode
		}
		if next != c.want || code != c.code || !strings.HasPrefix(p.Reason, c.reason) || (c.reason == "") != (p.Reason == "") || p.PID != 0 || p.Ended == nil {
			t.Errorf("%s: %s, code %d, %q", c.name, next, code, p.Reason)
		}
	}
}

func TestRecordRoundTrip(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "id-1")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	want := Proc{ID: "id-1", App: "blog", State: Running, Command: Exec("a", "b"), Config: map[string]string{"K": "v"}}
	for range 2 {
		if err := writeRecord(dir, want); err != nil {
			t.Fatal(err)
		}
	}
	got, err := readRecord(dir)
	if err != nil || got.App != "blog" || got.Command.String() != `["a","b"]` || got.Config["K"] != "v" {
		t.Errorf("%+v %v", got, err)
	}
	entries, _ := os.ReadDir(dir)
	if len(entries) != 1 {
		t.Errorf("%v", entries)
	}
	if fi, _ := os.Stat(filepath.Join(dir, recordName)); fi.Mode().Perm() != 0o600 {
		t.Errorf("mode %v: the record holds the app's secrets", fi.Mode())
	}
}

func TestRecordRefused(t *testing.T) {
	for name, text := range map[string]string{
		"empty":       "",
		"half":        `{"version":1,"proc":{"id":"x"`,
		"version":     `{"version":2,"proc":{"id":"x","state":"done"}}`,
		"other's":     `{"version":1,"proc":{"id":"y","state":"done"}}`,
		"state":       `{"version":1,"proc":{"id":"x","state":"dead"}}`,
		"not a proc":  `[]`,
		"bad command": `{"version":1,"proc":{"id":"x","state":"done","command":7}}`,
	} {
		dir := filepath.Join(t.TempDir(), "x")
		if err := errors.Join(os.Mkdir(dir, 0o700), os.WriteFile(filepath.Join(dir, recordName), []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
		if p, err := readRecord(dir); err == nil {
			t.Errorf("%s: %+v", name, p)
		}
	}
}

func TestPool(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	open := func(base int64, size int, free func(int) bool) *pool {
		p, err := openPool(path, base, size, free)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	lease := func(p *pool, want ...int) {
		t.Helper()
		for _, w := range want {
			if n, err := p.lease(); err != nil || n != w {
				t.Errorf("got %d %v, want %d", n, err, w)
			}
		}
	}
	a, b := open(0, 3, nil), open(1, 3, nil)
	lease(a, 0, 1)
	lease(b, 1) // 0 of b is 1 of a
	if _, err := a.lease(); !errors.Is(err, errExhausted) {
		t.Errorf("2 of a is 1 of b: %v", err)
	}
	b.release(1)
	b.release(1)
	b.release(2) // never held
	lease(a, 2)
	a.release(0)
	lease(a, 0)
	if err := a.close(); err != nil { // as when its hypervisor is killed
		t.Fatal(err)
	}
	lease(b, 2, 0, 1)
	if _, err := os.Stat(path); err != nil {
		t.Errorf("removed under b: %v", err)
	}
	c := open(10, 3, func(n int) bool { return n == 2 })
	lease(c, 2)
	if _, err := c.lease(); !errors.Is(err, errExhausted) {
		t.Errorf("only 2 is free: %v", err)
	}
	if err := errors.Join(b.close(), c.close()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the last one to close leaves the file: %v", err)
	}
}

func TestPoolUnderRace(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	var mu sync.Mutex
	held := make(map[int]bool)
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 200 {
				// Opened and closed each time: the file comes and goes under the others.
				p, err := openPool(path, 0, 8, nil)
				if err != nil {
					t.Error(err)
					return
				}
				n, err := p.lease()
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				if held[n] {
					t.Errorf("%d given twice", n)
				}
				held[n] = true
				mu.Unlock()
				mu.Lock()
				delete(held, n)
				mu.Unlock()
				p.release(n)
				if err := p.close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
}
