package proc

import (
	"errors"
	"fmt"
	"time"

	"github.com/gilliam/hypervisor/isolate"
)

// outcome is the last state of the proc and what belongs to it.
func (i *instance) outcome(exit isolate.Exit, err error) (State, func(*record)) {
	ended := time.Now().UTC()
	if !exit.At.IsZero() {
		ended = exit.At.UTC()
	}
	r := i.recorded()
	ran := r.Proc.State == Running
	next := Fail
	if ran && err == nil && exit.Err == nil && exit.Code == 0 && exit.Signal == 0 {
		next = Done
	}
	i.mu.Lock()
	failed := i.failed
	i.failed = nil
	i.mu.Unlock()
	if failed != nil && r.Stop == nil {
		next = Fail
	} else {
		failed = nil
	}
	if exit.LogErr != nil {
		i.log.Error("output may be missing from the log", "err", exit.LogErr)
	}
	if exit.Err != nil && r.Boot != i.m.bootID {
		exit.Err = errors.New("the machine was restarted while it ran")
	}
	return next, func(r *record) {
		p := &r.Proc
		p.Ended, p.PID = &ended, 0
		p.Reason = reason(next, ran, r.Stop, exit, errors.Join(err, failed))
		var noExec *isolate.ExecError
		switch {
		case errors.As(err, &noExec):
			code := noExec.Code()
			p.ExitCode = &code
		case ran && err == nil:
			code := exit.Code
			p.ExitCode = &code
			p.OOMKilled = exit.OOMKilled
			if exit.Signal != 0 {
				p.Signal = isolate.SignalName(exit.Signal)
			}
		}
	}
}

// reason says in words why a proc failed.
func reason(next State, ran bool, stopping *stop, exit isolate.Exit, err error) string {
	switch {
	case next == Done:
		return ""
	case stopping != nil && !ran:
		return stopping.why() + " before it ran"
	case err != nil:
		return err.Error()
	case stopping != nil:
		return stopping.why()
	case exit.OOMKilled:
		return "out of memory: the kernel killed it at its memory limit; raise limits.memory or make it use less"
	case exit.Err != nil:
		return exit.Err.Error()
	case exit.Signal != 0:
		return "ended by signal " + isolate.SignalName(exit.Signal)
	}
	return fmt.Sprintf("exit status %d", exit.Code)
}
