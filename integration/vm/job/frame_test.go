package job

import (
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

const tests = `=== RUN   TestA
--- PASS: TestA (0.10s)
=== RUN   TestB
=== RUN   TestB/part
    b_test.go:1: no
--- FAIL: TestB (0.20s)
    --- FAIL: TestB/part (0.10s)
    --- PASS: TestB/other (0.10s)
=== RUN   TestC
--- SKIP: TestC (0.00s)
FAIL`

func transcript(t *testing.T, console string) *Transcript {
	t.Helper()
	var got Transcript
	console = strings.ReplaceAll(console, "\n", "\r\n")
	// The pieces that a pipe delivers end anywhere.
	if _, err := io.Copy(&got, iotest.OneByteReader(strings.NewReader(console))); err != nil {
		t.Fatal(err)
	}
	return &got
}

func TestTranscript(t *testing.T) {
	got := transcript(t, "[    0.0] Linux"+Fact("kernel", "6.1 SMP")+Begin("isolate")+tests+
		End("isolate", 1, 12*time.Second)+"--- PASS: TestOutside (0.00s)\n"+Done())
	want := &Result{
		Ended: true, Code: 1, Took: 12 * time.Second,
		Passed: []string{"TestA"}, Failed: []string{"TestB", "TestB/part"}, Skipped: []string{"TestC"},
	}
	if r := got.Results["isolate"]; !reflect.DeepEqual(r, want) {
		t.Errorf("got %+v, want %+v", r, want)
	}
	if !got.Done || got.Fatal != "" || got.Facts["kernel"] != "6.1 SMP" {
		t.Errorf("%+v", got)
	}
}

// A guest that stopped half-way has no result, and says why when it can.
func TestTranscriptCutShort(t *testing.T) {
	got := transcript(t, Begin("isolate")+tests+Fatal(errors.New("no\ndisk"))+"Kernel panic")
	if r := got.Results["isolate"]; r == nil || r.Ended {
		t.Errorf("%+v", r)
	}
	if got.Done || got.Fatal != "no | disk" || got.Tail(2) != "@@vm fatal no | disk\nKernel panic" {
		t.Errorf("%+v\n%s", got, got.Tail(2))
	}
}

// What the kernel broke is no frame.
func TestTranscriptBrokenFrames(t *testing.T) {
	for _, end := range []string{
		"\n[ 1.0] oops @@vm end isolate 0 1s\n", "\n@@vm end isolate[ 1.0] oops\n",
		"\n@@vm end isolate 0\n", "\n@@vm end isolate 0 soon\n", "\n@@vm end other 0 1s\n",
	} {
		got := transcript(t, Begin("isolate")+end)
		if r := got.Results["isolate"]; r.Ended {
			t.Errorf("%q: %+v", end, r)
		}
	}
}
