package proc

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Seconds is a duration as it is in JSON.
type Seconds float64

// Duration is s as Go has it.
func (s Seconds) Duration() time.Duration { return time.Duration(float64(s) * float64(time.Second)) }

// RestartPolicy says after which ends a proc is started again.
type RestartPolicy string

// The restart policies, by the names that Docker and systemd gave them.
const (
	RestartNo        RestartPolicy = "no"
	RestartOnFailure RestartPolicy = "on-failure" // whatever would be state fail
	RestartAlways    RestartPolicy = "always"     // exit status 0 too
)

// Restart is what is done when a proc has ended by itself. A stop by request, and
// the end of its ttl, are final.
type Restart struct {
	Policy RestartPolicy `json:"policy"`
	Max    int           `json:"max,omitempty"` // restarts in a row, without a good run between; 0 is no limit
}

// A Supervision is what is done for a proc while it lives, beside running it.
type Supervision struct {
	Restart    *Restart `json:"restart,omitempty"`     // nil: never
	Health     *Health  `json:"health,omitempty"`      // nil: a proc that runs is as well as one can know
	TTL        Seconds  `json:"ttl,omitempty"`         // it is stopped when it has run for so long; 0: never
	StopSignal string   `json:"stop_signal,omitempty"` // what asks it to end; empty: SIGTERM
	Grace      Seconds  `json:"grace,omitempty"`       // from the first of these to SIGKILL; 0: the hypervisor's

	// BootTimeout is how long after its start it must listen on its port; it fails
	// otherwise. 0: it need not, ever.
	BootTimeout Seconds `json:"boot_timeout,omitempty"`
}

// maxSeconds bounds every duration of a request: ten years.
const maxSeconds = 10 * 365 * 24 * 3600

// check says what is wrong with it, as a [FieldError].
func (s Supervision) check() error {
	if r := s.Restart; r != nil {
		if !slices.Contains([]RestartPolicy{RestartNo, RestartOnFailure, RestartAlways}, r.Policy) {
			return &FieldError{"restart.policy", `must be "no", "on-failure" or "always"`}
		}
		if r.Max < 0 {
			return &FieldError{"restart.max", "must not be negative; 0 is no limit"}
		}
	}
	for name, d := range map[string]Seconds{"ttl": s.TTL, "grace": s.Grace, "boot_timeout": s.BootTimeout} {
		if d < 0 || d > maxSeconds || d != d {
			return &FieldError{name, "must be a number of seconds from 0 to ten years"}
		}
	}
	if s.StopSignal != "" && unix.SignalNum(s.StopSignal) == 0 {
		return &FieldError{"stop_signal", "must be the name of a signal, as SIGINT"}
	}
	if s.Health != nil {
		return s.Health.check()
	}
	return nil
}

// stopSignal is what asks the proc to end.
func (s Supervision) stopSignal() syscall.Signal {
	if n := unix.SignalNum(s.StopSignal); n != 0 {
		return n
	}
	return syscall.SIGTERM
}

// A Backoff is how long is waited before a restart: First, and twice as long each
// time, up to Most; a proc that ran well for Most begins anew.
type Backoff struct{ First, Most time.Duration }

// wait is the pause before restart number n in a row, from 1: between half and all
// of what it would be without jitter, by r from 0 to 1.
func (b Backoff) wait(n int, r float64) time.Duration {
	d := b.Most
	if n < 32 {
		d = min(b.Most, b.First<<(n-1))
	}
	return d/2 + time.Duration(r*float64(d/2))
}

// due is how long it is until a moment that was recorded, and at most as long as
// it was when it was recorded: the clock may have been set back since.
func due(at, now time.Time, most time.Duration) time.Duration {
	return max(0, min(at.Sub(now), most))
}

// An End is how a proc ended before it was started again.
type End struct {
	At        time.Time `json:"at"`
	Reason    string    `json:"reason,omitempty"` // empty: exit status 0
	ExitCode  *int      `json:"exit_code,omitempty"`
	Signal    string    `json:"signal,omitempty"`
	OOMKilled bool      `json:"oom_killed,omitempty"`
}

// again decides whether a proc that ended by itself is started again, and makes
// the changes to its record that belong to that. It is pure but for r.
func (b Backoff) again(r *record, next State, now time.Time, jitter float64) bool {
	p := &r.Proc
	if p.Restart == nil || r.Stop != nil || p.Restart.Policy == RestartNo || p.Restart.Policy == RestartOnFailure && next == Done {
		return false
	}
	row := p.InRow + 1
	if p.Started != nil && now.Sub(*p.Started) >= b.Most {
		row = 1
	}
	if p.Restart.Max > 0 && row > p.Restart.Max {
		return false
	}
	at := now.Add(b.wait(row, jitter)).UTC()
	p.Restarts, p.InRow, p.NextStart = p.Restarts+1, row, &at
	return true
}

// restarting is the record of a proc that has just ended and is started again.
func (p *Proc) restarting() {
	p.Last = &End{At: *p.Ended, Reason: p.Reason, ExitCode: p.ExitCode, Signal: p.Signal, OOMKilled: p.OOMKilled}
	p.Ended, p.Started, p.PID, p.ExitCode, p.Signal, p.OOMKilled = nil, nil, 0, nil, "", false
	p.Status, p.Listening = "", nil
}

// giveUp says that a proc that failed was restarted often enough.
func (p *Proc) giveUp() {
	if p.State == Fail && p.Restart != nil && p.Restart.Max > 0 && p.InRow >= p.Restart.Max {
		p.Reason += fmt.Sprintf("; given up after %d restarts in a row", p.InRow)
	}
}

func jitter() float64 { return rand.Float64() }
