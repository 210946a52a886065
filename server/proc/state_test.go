package proc

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/gilliam/hypervisor/isolate"
)

// Every pair of states: what is not a legal move is refused.
func TestTransitions(t *testing.T) {
	legal := map[[2]State]bool{
		{Init, Boot}: true, {Init, Fail}: true, {Boot, Running}: true, {Boot, Fail}: true,
		{Running, Done}: true, {Running, Fail}: true,
		{Boot, Restarting}: true, {Running, Restarting}: true, {Restarting, Boot}: true, {Restarting, Fail}: true,
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
		{"the machine was restarted", Running, false, isolate.Exit{Code: 137, Signal: 9, Err: errors.New("killed")}, nil, Fail, 137, "the machine was restarted"},
		{"broken", Running, false, isolate.Exit{Code: 255, Err: boom, At: at}, nil, Fail, 255, "boom"},
	} {
		i := &instance{m: &Manager{}, r: record{Proc: Proc{State: c.state, PID: 7}}}
		if strings.HasPrefix(c.name, "the machine") {
			i.m.bootID = "another"
		}
		if c.stopping {
			i.r.Stop = &stop{}
		}
		next, set := i.outcome(c.exit, c.err)
		r := i.recorded()
		set(&r)
		p := r.Proc
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
	ids := 7
	want := record{
		Proc: Proc{ID: "id-1", App: "blog", State: Running, Command: Exec("a", "b"), Config: map[string]string{"K": "v"}},
		IDs:  &ids, Boot: "b", Stop: &stop{At: time.Unix(5, 0).UTC(), Grace: time.Second, Remove: true},
	}
	for range 2 {
		if err := writeRecord(dir, want); err != nil {
			t.Fatal(err)
		}
	}
	got, err := readRecord(dir)
	want.Version = recordVersion
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v %v, want %+v", got, err, want)
	}
	entries, _ := os.ReadDir(dir)
	if len(entries) != 1 {
		t.Errorf("%v", entries)
	}
	if fi, _ := os.Stat(filepath.Join(dir, recordName)); fi.Mode().Perm() != 0o600 {
		t.Errorf("mode %v: the record holds the app's secrets", fi.Mode())
	}
}

// A stop that was asked for is not put off by a later one.
func TestStopAfterStop(t *testing.T) {
	at := time.Unix(100, 0)
	soon, late := stop{At: at, Grace: time.Second}, stop{At: at.Add(time.Second), Grace: time.Minute, Remove: true}
	if got, want := *late.after(&soon), (stop{At: at, Grace: time.Second, Remove: true}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got, want := *soon.after(&late), (stop{At: at, Grace: time.Second, Remove: true}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got := *soon.after(nil); got != soon {
		t.Errorf("got %+v, want %+v", got, soon)
	}
}

func TestRecordRefused(t *testing.T) {
	for name, text := range map[string]string{
		"empty":       "",
		"half":        `{"version":1,"proc":{"id":"x"`,
		"version":     `{"version":99,"proc":{"id":"x","state":"done"}}`,
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
