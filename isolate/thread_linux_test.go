package isolate

import (
	"errors"
	"testing"

	"github.com/gilliam/hypervisor/isolate/safely"
)

// A panic on a launch thread ends the launch and not the hypervisor.
func TestThreadPanics(t *testing.T) {
	err := onThread(func() error { panic("ouch") })
	var p *safely.Panic
	if !errors.As(err, &p) || p.Value != "ouch" {
		t.Errorf("got %v", err)
	}
	if err := onThread(func() error { return nil }); err != nil {
		t.Errorf("after it: %v", err)
	}
}
