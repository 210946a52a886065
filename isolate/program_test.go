//go:build integration

package isolate_test

import (
	"errors"
	"testing"

	"github.com/gilliam/hypervisor/integration/testbed"
	"github.com/gilliam/hypervisor/isolate"
)

func TestProgramErrors(t *testing.T) {
	testbed.Leaves(t)
	e := testbed.Engine(t)
	for _, c := range []struct {
		args []string
		code int
	}{
		{[]string{"/no/such/program"}, 127},
		{[]string{"no-such-program"}, 127},
		{[]string{"/etc/passwd"}, 126},
		{[]string{"/etc"}, 126},
		{[]string{"/etc/passwd/x"}, 127},
		{[]string{"/dev/fd/3"}, 126},         // a link into /proc
		{[]string{"/dev/../dev/stdin"}, 126}, // likewise
	} {
		_, err := launch(t, e, spec(t, c.args...))
		var exec *isolate.ExecError
		if !errors.As(err, &exec) || exec.Code() != c.code {
			t.Errorf("%q: got %v, want an ExecError of code %d", c.args, err, c.code)
		}
	}
}

func TestLooksAlongPath(t *testing.T) {
	s := spec(t, "true")
	s.Env = []string{"PATH=relative::/nowhere:/usr/bin"}
	r, err := launch(t, testbed.Engine(t), s)
	if err != nil {
		t.Fatal(err)
	}
	if _, exit := r.finish(t); exit.Code != 0 {
		t.Errorf("%+v", exit)
	}
}
