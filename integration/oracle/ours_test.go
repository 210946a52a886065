//go:build integration

package oracle

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/gilliam/hypervisor/integration/testbed"
	"github.com/gilliam/hypervisor/isolate"
)

// An ours runs plans with our engine.
type ours struct{ engine *isolate.Engine }

func newOurs(tb testing.TB) *ours { return &ours{testbed.Engine(tb)} }

// A sandbox is a program that our engine runs.
type sandbox struct{ *isolate.Sandbox }

// start runs the plan as far as its program's execve.
func (o *ours) start(p isolate.Plan, out *os.File) (program, error) {
	box, err := o.engine.Launch(context.Background(), p, isolate.IO{Stdout: out, Stderr: out})
	if err != nil {
		return nil, err
	}
	return &sandbox{box}, nil
}

// startKept is start of a sandbox that outlives us and keeps its log in dir, which
// is how the hypervisor starts them.
func (o *ours) startKept(dir string) start {
	return func(p isolate.Plan, _ *os.File) (program, error) {
		box, err := o.engine.Launch(context.Background(), p, isolate.IO{Keep: &isolate.Keep{Dir: dir, Segment: 1 << 20}})
		if err != nil {
			return nil, err
		}
		return &sandbox{box}, nil
	}
}

// pid is the program's on the host: the child of PID 1.
func (s *sandbox) pid() (int, error) {
	lists, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", s.PID()))
	if err != nil {
		return 0, err
	}
	for _, list := range lists {
		if text, err := os.ReadFile(list); err == nil && len(text) > 0 {
			return strconv.Atoi(strings.Fields(string(text))[0])
		}
	}
	return 0, errors.New("sandbox-init has no child")
}

func (s *sandbox) wait() error {
	exit := s.Wait()
	if exit.Err != nil || exit.Code != 0 {
		return fmt.Errorf("%+v", exit)
	}
	return nil
}

// stop ends the sandbox if it still runs and removes it.
func (s *sandbox) stop() error { return s.Destroy() }
