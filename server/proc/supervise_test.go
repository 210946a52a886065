package proc

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func TestBackoff(t *testing.T) {
	b := Backoff{First: time.Second, Most: 5 * time.Minute}
	for n, want := range map[int]time.Duration{1: time.Second, 2: 2 * time.Second, 5: 16 * time.Second, 9: 256 * time.Second, 10: 5 * time.Minute, 1000: 5 * time.Minute} {
		if least, most := b.wait(n, 0), b.wait(n, 1); least != want/2 || most != want {
			t.Errorf("restart %d: %v to %v, want %v to %v", n, least, most, want/2, want)
		}
	}
}

func TestAgain(t *testing.T) {
	now := time.Unix(10_000, 0)
	ran := func(d time.Duration) *time.Time { at := now.Add(-d); return &at }
	b := Backoff{First: time.Second, Most: time.Minute}
	for name, c := range map[string]struct {
		policy  *Restart
		next    State
		stopped bool
		started *time.Time
		inRow   int
		want    bool
		row     int
		wait    time.Duration
	}{
		"no policy":                {nil, Fail, false, ran(0), 0, false, 0, 0},
		"no":                       {&Restart{Policy: RestartNo}, Fail, false, ran(0), 0, false, 0, 0},
		"on-failure, failed":       {&Restart{Policy: RestartOnFailure}, Fail, false, ran(0), 0, true, 1, time.Second},
		"on-failure, done":         {&Restart{Policy: RestartOnFailure}, Done, false, ran(0), 0, false, 0, 0},
		"always, done":             {&Restart{Policy: RestartAlways}, Done, false, ran(0), 0, true, 1, time.Second},
		"stopped":                  {&Restart{Policy: RestartAlways}, Fail, true, ran(0), 0, false, 0, 0},
		"again and again":          {&Restart{Policy: RestartAlways}, Fail, false, ran(time.Second), 3, true, 4, 8 * time.Second},
		"after a good run":         {&Restart{Policy: RestartAlways}, Fail, false, ran(time.Minute), 3, true, 1, time.Second},
		"never ran":                {&Restart{Policy: RestartAlways}, Fail, false, nil, 1, true, 2, 2 * time.Second},
		"as often as it may":       {&Restart{Policy: RestartAlways, Max: 3}, Fail, false, ran(0), 2, true, 3, 4 * time.Second},
		"more often than it may":   {&Restart{Policy: RestartAlways, Max: 3}, Fail, false, ran(0), 3, false, 3, 0},
		"more, but after good run": {&Restart{Policy: RestartAlways, Max: 3}, Fail, false, ran(time.Hour), 3, true, 1, time.Second},
	} {
		r := record{Proc: Proc{Started: c.started, InRow: c.inRow, Restarts: 7}}
		r.Proc.Restart = c.policy
		if c.stopped {
			r.Stop = &stop{}
		}
		got := b.again(&r, c.next, now, 1)
		if got != c.want || got && (r.Proc.InRow != c.row || r.Proc.Restarts != 8 || !r.Proc.NextStart.Equal(now.Add(c.wait))) {
			t.Errorf("%s: %v, %+v", name, got, r.Proc)
		}
	}
}

func TestSupervisionRefused(t *testing.T) {
	for want, s := range map[string]Supervision{
		"restart.policy":  {Restart: &Restart{Policy: "sometimes"}},
		"restart.max":     {Restart: &Restart{Policy: RestartAlways, Max: -1}},
		"ttl":             {TTL: -1},
		"grace":           {Grace: 1e12},
		"boot_timeout":    {BootTimeout: -1},
		"stop_signal":     {StopSignal: "TERM"},
		"health:":         {Health: &Health{}},
		"health: ":        {Health: &Health{TCP: true, HTTP: "/"}},
		"health.http":     {Health: &Health{HTTP: "x"}},
		"health.exec":     {Health: &Health{Exec: []string{""}}},
		"health.retries":  {Health: &Health{TCP: true, Retries: -1}},
		"health.interval": {Health: &Health{TCP: true, Interval: 0.001}},
		"health.timeout":  {Health: &Health{TCP: true, Timeout: -5}},
	} {
		if err := s.check(); err == nil || !strings.HasPrefix(err.Error(), want) || !errors.Is(err, ErrInvalid) {
			t.Errorf("%+v: got %v, want %s", s, err, want)
		}
	}
	good := Supervision{Restart: &Restart{Policy: RestartAlways, Max: 3}, TTL: 1.5, Grace: 60, BootTimeout: 30, StopSignal: "SIGINT", Health: &Health{Exec: []string{"true"}, Retries: 1}}
	if err := good.check(); err != nil {
		t.Error(err)
	}
}

// Failures count only after the start, or after the first success.
func TestVerdict(t *testing.T) {
	t0 := time.Unix(0, 0)
	bad := errors.New("bad")
	for name, c := range map[string]struct {
		checks []error // one a second
		want   string
	}{
		"well at once":         {[]error{nil}, HealthHealthy},
		"slow to start":        {[]error{bad, bad, bad, bad}, HealthStarting},
		"never starts":         {[]error{bad, bad, bad, bad, bad, bad, bad}, HealthUnhealthy},
		"fails after a good":   {[]error{nil, bad, bad}, HealthUnhealthy},
		"recovers":             {[]error{nil, bad, nil, bad}, HealthHealthy},
		"starts late but well": {[]error{bad, bad, bad, bad, bad, nil}, HealthHealthy},
	} {
		v := verdict{health: Health{Start: 5, Retries: 2}, started: t0, state: HealthStarting}
		for n, err := range c.checks {
			v.add(err, t0.Add(time.Duration(n)*time.Second))
		}
		if v.state != c.want {
			t.Errorf("%s: got %s, want %s", name, v.state, c.want)
		}
	}
}

// However the clock is set, nothing is waited for longer than it was meant to be.
func TestDue(t *testing.T) {
	at := time.Unix(1000, 0)
	for name, c := range map[string]struct {
		now  time.Time
		want time.Duration
	}{
		"in time":               {at.Add(-3 * time.Second), 3 * time.Second},
		"late":                  {at.Add(time.Hour), 0},
		"the clock set back":    {at.Add(-24 * time.Hour), 10 * time.Second},
		"the clock set to 1970": {time.Unix(0, 0), 10 * time.Second},
	} {
		if got := due(at, c.now, 10*time.Second); got != c.want {
			t.Errorf("%s: got %v, want %v", name, got, c.want)
		}
	}
}
