package wire

import (
	"bytes"
	"encoding/hex"
	"reflect"
	"testing"
)

// What is said to a sandbox-init that another hypervisor has started, and by it, is
// what it was in version 1, byte for byte: sandboxes of that version may run for
// years. A change that this test finds needs a new Version, is made at the end of a
// message, and is asked for only of who has it; then this test gets a table more.
// A Setup is not in it: who sends one has started the sandbox-init that reads it.
func TestVersion1IsFrozen(t *testing.T) {
	exec := Exec{ID: 300, Args: []string{"/bin/cat", "-"}, Env: []string{"A=b"}, Dir: "/app", TTY: true}
	number := ExecNumber{ID: 300, Number: 9}
	execFailed := ExecFailed{ID: 300, Failed: Failed{Step: StepExec, Path: "/no", Errno: 2}}
	failed := Failed{Step: "pivot root", Path: "/x", Errno: 1}
	exited := Exited{Status: 0x8b, Time: 1700000000123456789}
	adopted := Adopted{Version: 1, PID: 7}
	for name, c := range map[string]struct {
		frame []byte
		want  string
		body  interface{ Decode([]byte) error } // what it is read into; nil: it is a number
	}{
		"signal":       {Frame(KindSignal, AppendNumber(nil, 15)), "02000000020f", nil},
		"exec":         {Frame(KindExec, exec.Append(nil)), "1a00000006ac0202082f62696e2f636174012d0103413d62042f61707001", &exec},
		"exec signal":  {Frame(KindExecSignal, number.Append(nil)), "0400000007ac0209", &number},
		"exec started": {Frame(KindExecStarted, number.Append(nil)), "0400000008ac0209", &number},
		"exec failed":  {Frame(KindExecFailed, execFailed.Append(nil)), "0d00000009ac020465786563032f6e6f02", &execFailed},
		"exec exited":  {Frame(KindExecExited, number.Append(nil)), "040000000aac0209", &number},
		"failed":       {Frame(KindFailed, failed.Append(nil)), "10000000040a7069766f7420726f6f74022f7801", &failed},
		"exited":       {Frame(KindExited, exited.Append(nil)), "0c000000058b01959a97ece39fe7cb17", &exited},
		"adopted":      {Frame(KindAdopted, adopted.Append(nil)), "030000000b0107", &adopted},
		"starting":     {Frame(KindStarting, nil), "010000000c", nil},
	} {
		if got := hex.EncodeToString(c.frame); got != c.want {
			t.Errorf("%s: it is said as %s, and was as %s", name, got, c.want)
		}
		frame, err := hex.DecodeString(c.want)
		if err != nil {
			t.Fatal(err)
		}
		_, body, err := Read(bytes.NewReader(frame), MaxReply)
		if err != nil || c.body == nil {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		got := reflect.New(reflect.TypeOf(c.body).Elem()).Interface().(interface{ Decode([]byte) error })
		if err := got.Decode(body); err != nil || !reflect.DeepEqual(got, c.body) {
			t.Errorf("%s: read as %+v %v, want %+v", name, got, err, c.body)
		}
	}
}
