package wire

import (
	"errors"
	"testing"
)

func TestExitedRoundTrip(t *testing.T) {
	var got Exited
	for _, want := range []Exited{{Status: 1<<32 - 1, Time: -5}, {Status: 9, Time: 1, OOM: true}, {Time: 1}} {
		if err := got.Decode(want.Append(nil)); err != nil || got != want {
			t.Errorf("got %+v %v, want %+v", got, err, want)
		}
	}
	for _, bad := range [][]byte{{1, 2, 0, 0}, {1, 2, 2}, {1, 2, 0x80}} {
		if err := got.Decode(bad); !errors.Is(err, ErrMalformed) {
			t.Errorf("%v: %v", bad, err)
		}
	}
	if err := got.Decode([]byte{1}); !errors.Is(err, ErrMalformed) {
		t.Errorf("cut: %v", err)
	}
}

func TestAdopted(t *testing.T) {
	want := Adopted{Version: 3, PID: 77}
	var got Adopted
	if err := got.Decode(append(want.Append(nil), "from a later version"...)); err != nil || got != want {
		t.Errorf("got %+v %v, want %+v", got, err, want)
	}
	for _, bad := range []string{"", "\x00\x01", "\x01", "\x01\x00", "\x01\xff\xff\xff\xff\x7f"} {
		if err := got.Decode([]byte(bad)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestOutcome(t *testing.T) {
	exited := Exited{Status: 256, Time: 1 << 60}
	failed := Failed{Step: StepExec, Path: "/x", Errno: 2}
	whole := Frame(KindExited, exited.Append(nil))
	for name, c := range map[string]struct {
		file string
		want Outcome
		err  error
	}{
		"nothing yet":       {"", Outcome{}, nil},
		"zeros":             {"\x00\x00\x00", Outcome{}, nil}, // the machine lost power
		"starting":          {string(Frame(KindStarting, nil)), Outcome{Kind: KindStarting}, nil},
		"exited":            {string(whole), Outcome{Kind: KindExited, Exited: exited}, nil},
		"over a longer one": {string(whole) + "rest", Outcome{Kind: KindExited, Exited: exited}, nil},
		"failed":            {string(Frame(KindFailed, failed.Append(nil))), Outcome{Kind: KindFailed, Failed: failed}, nil},
		"cut":               {string(whole[:7]), Outcome{}, ErrMalformed},
		"something else":    {string(Frame(KindSetup, nil)), Outcome{Kind: KindSetup}, ErrMalformed},
	} {
		got, err := DecodeOutcome([]byte(c.file))
		if got != c.want || !errors.Is(err, c.err) {
			t.Errorf("%s: got %+v %v, want %+v %v", name, got, err, c.want, c.err)
		}
	}
}

func FuzzDecodeOutcome(f *testing.F) {
	f.Add(Frame(KindExited, (&Exited{Status: 9, Time: 1}).Append(nil)))
	f.Fuzz(func(t *testing.T, b []byte) {
		if o, err := DecodeOutcome(b); err == nil && o.Kind != 0 && o.Kind != KindStarting && o.Kind != KindFailed && o.Kind != KindExited {
			t.Errorf("%q: %+v", b, o)
		}
	})
}
