package isolate

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"github.com/gilliam/hypervisor/isolate/failpoint"
	"github.com/gilliam/hypervisor/isolate/wire"
)

// admit tells sandbox-init what to do and hears that the program was executed.
func (e *Engine) admit(ctx context.Context, s *Sandbox, p Plan) error {
	adj := fmt.Sprintf("/proc/%d/oom_score_adj", s.process.Pid)
	if err := os.WriteFile(adj, fmt.Append(nil, p.OOMScoreAdj), 0); err != nil {
		return err
	}
	deadline := time.Now().Add(handshakeTimeout)
	if d, ok := ctx.Deadline(); ok && d.Before(deadline) {
		deadline = d
	}
	if err := s.control.SetDeadline(deadline); err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { _ = s.control.SetDeadline(time.Now()) })()
	filter, err := e.filters.get(p)
	if err != nil {
		return err
	}
	if err := s.tellSetup(e.setup(p, filter)); err != nil {
		return fmt.Errorf("tell sandbox-init: %w", err)
	}
	failpoint.Hit("isolate.setup.told")
	kind, body, err := wire.Read(s.control, wire.MaxReply)
	if err != nil {
		return errors.Join(fmt.Errorf("hear from sandbox-init: %w", err), ctx.Err())
	}
	if s.program, err = started(kind, body); err != nil {
		return err
	}
	return s.control.SetDeadline(time.Time{})
}

// tellSetup sends the setup, and with it the files of a sandbox that is kept and
// what the kernel tells of a lack of memory by.
func (s *Sandbox) tellSetup(setup *wire.Setup) error {
	var files []*os.File
	if s.keep != nil {
		kept, sent, err := s.keep.files()
		if err != nil {
			return err
		}
		defer sent()
		files = kept
		setup.Keep = wire.Keep{On: true, Segment: uint64(s.keep.limits.Segment), Rate: uint64(s.keep.limits.Rate)}
	}
	event, err := newOOMEvent(s.cgroup, s.plan.Cgroup)
	if err != nil {
		return fmt.Errorf("be told of a lack of memory: %w", err)
	}
	if event != nil {
		defer event.Close()
		files = append(files, event)
		setup.OOMEvent = true
	}
	return writeFiles(s.control, wire.Frame(wire.KindSetup, setup.Append(nil)), files)
}

// started reads sandbox-init's answer to its setup: the program's pid in the
// sandbox, or what failed.
func started(kind wire.Kind, body []byte) (int, error) {
	switch kind {
	case wire.KindStarted:
		pid, err := wire.DecodeNumber(body)
		return int(pid), err
	case wire.KindFailed:
		var f wire.Failed
		if err := f.Decode(body); err != nil {
			return 0, err
		}
		return 0, failure(&f)
	}
	return 0, fmt.Errorf("sandbox-init said something unexpected (kind %d)", kind)
}

// failure is what sandbox-init said as an error.
func failure(f *wire.Failed) error {
	errno := error(syscall.Errno(f.Errno))
	if f.Errno == 0 || f.Errno > 4095 {
		errno = errors.New("unknown error")
	}
	if f.Step == wire.StepExec {
		return &ExecError{Path: sanitize(f.Path), Err: errno}
	}
	step := "sandbox-init: " + sanitize(f.Step)
	if f.Path != "" {
		step += " " + sanitize(f.Path)
	}
	return &StepError{step, errno}
}

// setup is the part of the plan that sandbox-init does.
func (e *Engine) setup(p Plan, filter []byte) *wire.Setup {
	s := &wire.Setup{
		Cgroup:     p.Cgroup.View,
		Masked:     p.Masked,
		ReadOnly:   p.ReadOnly,
		UserLimits: p.UserLimits,
		Umask:      p.Umask,
		Caps:       mustMask(p.Capabilities),
		Scoped:     p.Scoped,
		Filter:     filter,
		UID:        p.User.UID,
		GID:        p.User.GID,
		Args:       p.Args,
		Env:        p.Env,
		Dir:        p.Dir,
	}
	if p.AppArmor != Unconfined {
		s.Profile = p.AppArmor
	}
	for _, r := range p.Rlimits {
		s.Rlimits = append(s.Rlimits, wire.Rlimit{Resource: uint32(r.Resource), Soft: r.Soft, Hard: r.Hard})
	}
	return s
}
