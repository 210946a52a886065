package wire

import (
	"bytes"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
)

func fullSetup() Setup {
	return Setup{
		Cgroup: true, Masked: []string{"/proc/kcore"}, ReadOnly: []string{"/proc/sys", "/proc/irq"},
		UserLimits: []string{"max_user_namespaces=0"}, Profile: "gilliam",
		Rlimits: []Rlimit{{7, 1024, 1 << 40}, {4, 0, 0}}, Umask: 0o22, Caps: 1 << 40, Scoped: true, Filter: []byte{1, 2, 3, 0, 255},
		UID: 1000, GID: 1001, Args: []string{"/bin/sh", "", "a b"}, Env: []string{"A=b"}, Dir: "/app",
		Keep: Keep{On: true, Segment: 1 << 40, Rate: 7}, OOMEvent: true,
	}
}

func TestSetupRoundTrip(t *testing.T) {
	want := fullSetup()
	var got Setup
	if err := got.Decode(want.Append(nil)); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestSetupCut(t *testing.T) {
	s := fullSetup()
	whole := s.Append(nil)
	for n := range whole {
		var got Setup
		if err := got.Decode(whole[:n]); !errors.Is(err, ErrMalformed) {
			t.Errorf("cut to %d of %d bytes: %v, want %v", n, len(whole), err, ErrMalformed)
		}
	}
	var got Setup
	if err := got.Decode(append(whole, 0)); !errors.Is(err, ErrMalformed) {
		t.Errorf("one byte too many: %v, want %v", err, ErrMalformed)
	}
}

func TestFailedIsBounded(t *testing.T) {
	f := Failed{Step: "mount", Path: strings.Repeat("x", 1<<20), Errno: 22}
	b := f.Append(nil)
	if len(b) > MaxReply {
		t.Fatalf("a Failed of %d bytes: the hypervisor reads %d", len(b), MaxReply)
	}
	var got Failed
	if err := got.Decode(b); err != nil || got.Errno != 22 || got.Step != "mount" {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestExecRoundTrip(t *testing.T) {
	want := Exec{ID: 7, Args: []string{"a", ""}, Env: []string{"K=v"}, Dir: "/", TTY: true}
	var got Exec
	if err := got.Decode(want.Append(nil)); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v %v, want %+v", got, err, want)
	}
	if err := got.Decode((&Exec{ID: 1}).Append(nil)); !errors.Is(err, ErrMalformed) {
		t.Errorf("a command of nothing: %v", err)
	}
	failed := ExecFailed{ID: 9, Failed: Failed{Step: StepExec, Path: "/x", Errno: 2}}
	var gotFailed ExecFailed
	if err := gotFailed.Decode(failed.Append(nil)); err != nil || gotFailed != failed {
		t.Errorf("got %+v %v", gotFailed, err)
	}
	number := ExecNumber{ID: 1<<32 - 1, Number: 9}
	var gotNumber ExecNumber
	if err := gotNumber.Decode(number.Append(nil)); err != nil || gotNumber != number {
		t.Errorf("got %+v %v", gotNumber, err)
	}
}

func TestFrames(t *testing.T) {
	var b bytes.Buffer
	for _, body := range []string{"", "x", strings.Repeat("y", 100)} {
		if err := Write(&b, KindSignal, []byte(body)); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []string{"", "x", strings.Repeat("y", 100)} {
		kind, body, err := Read(&b, 100)
		if err != nil || kind != KindSignal || string(body) != want {
			t.Errorf("got %d %q %v, want %q", kind, body, err, want)
		}
	}
	if _, _, err := Read(&b, 100); err != io.EOF {
		t.Errorf("at the end: %v, want %v", err, io.EOF)
	}
}

func TestFramesRefused(t *testing.T) {
	for _, c := range []struct {
		name string
		in   string
		want error
	}{
		{"no kind", "\x00\x00\x00\x00\x01", ErrMalformed},
		{"too long", "\xff\xff\xff\xff\x01", ErrTooLong},
		{"one over the limit", "\x66\x00\x00\x00\x01", ErrTooLong},
		{"body cut", "\x05\x00\x00\x00\x01ab", io.ErrUnexpectedEOF},
		{"head cut", "\x05\x00", io.ErrUnexpectedEOF},
	} {
		if _, _, err := Read(strings.NewReader(c.in), 100); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
}

func TestNumber(t *testing.T) {
	for _, n := range []uint32{0, 1, 0x7f, 0x80, 1<<32 - 1} {
		if got, err := DecodeNumber(AppendNumber(nil, n)); got != n || err != nil {
			t.Errorf("got %d %v, want %d", got, err, n)
		}
	}
	for _, bad := range []string{"", "\x80", "\x00\x00", "\xff\xff\xff\xff\xff\xff\xff\x7f"} {
		if _, err := DecodeNumber([]byte(bad)); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

// FuzzDecode feeds every decoder what a tenant that took over PID 1 might send.
func FuzzDecode(f *testing.F) {
	s := fullSetup()
	f.Add(s.Append(nil))
	f.Add((&Failed{Step: "a", Path: "b", Errno: 3}).Append(nil))
	f.Add([]byte{1, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01})
	f.Fuzz(func(t *testing.T, b []byte) {
		var setup Setup
		if setup.Decode(b) == nil {
			var again Setup
			if err := again.Decode(setup.Append(nil)); err != nil || !reflect.DeepEqual(again, setup) {
				t.Errorf("%v does not round-trip: %v", setup, err)
			}
		}
		var failed Failed
		_ = failed.Decode(b)
		var exec Exec
		if exec.Decode(b) == nil {
			var again Exec
			if err := again.Decode(exec.Append(nil)); err != nil || !reflect.DeepEqual(again, exec) {
				t.Errorf("%v does not round-trip: %v", exec, err)
			}
		}
		var number ExecNumber
		_ = number.Decode(b)
		var execFailed ExecFailed
		_ = execFailed.Decode(b)
		_, _ = DecodeNumber(b)
		_, _, _ = Read(bytes.NewReader(b), MaxReply)
	})
}
