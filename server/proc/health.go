package proc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/gilliam/hypervisor/isolate"
)

// Health says how to find out that a proc is well: one of HTTP, TCP and Exec.
type Health struct {
	HTTP string   `json:"http,omitempty"` // path that must answer 200 to 399 on the proc's port
	TCP  bool     `json:"tcp,omitempty"`  // its port must accept a connection
	Exec []string `json:"exec,omitempty"` // a command in its sandbox that must exit with 0

	Interval Seconds `json:"interval,omitempty"` // between checks; 0: 10
	Timeout  Seconds `json:"timeout,omitempty"`  // of one check; 0: 5
	Start    Seconds `json:"start,omitempty"`    // in which failures do not count, until the first success; 0: 30
	Retries  int     `json:"retries,omitempty"`  // failures in a row that make it unhealthy; 0: 3
}

// The values of [Proc.Status] of a proc that has checks.
const (
	HealthStarting  = "starting"
	HealthHealthy   = "healthy"
	HealthUnhealthy = "unhealthy"
)

func (h Health) check() error {
	kinds := 0
	for _, given := range []bool{h.HTTP != "", h.TCP, len(h.Exec) > 0} {
		if given {
			kinds++
		}
	}
	switch {
	case kinds != 1:
		return &FieldError{"health", "must have one of http, tcp and exec"}
	case h.HTTP != "" && !strings.HasPrefix(h.HTTP, "/"):
		return &FieldError{"health.http", "must be a path that begins with /"}
	case len(h.Exec) > 0 && h.Exec[0] == "":
		return &FieldError{"health.exec", "must begin with a program"}
	case h.Retries < 0:
		return &FieldError{"health.retries", "must not be negative"}
	}
	for name, d := range map[string]Seconds{"interval": h.Interval, "timeout": h.Timeout, "start": h.Start} {
		if d < 0 || d > maxSeconds || d != d || d > 0 && d < 0.01 {
			return &FieldError{"health." + name, "must be a number of seconds, 0.01 at least"}
		}
	}
	return nil
}

func (h Health) withDefaults() Health {
	for _, d := range []struct {
		value *Seconds
		or    Seconds
	}{{&h.Interval, 10}, {&h.Timeout, 5}, {&h.Start, 30}} {
		if *d.value == 0 {
			*d.value = d.or
		}
	}
	if h.Retries == 0 {
		h.Retries = 3
	}
	return h
}

// A verdict is what checks have said so far. It is plain data.
type verdict struct {
	health   Health
	started  time.Time
	state    string
	failures int // in a row, that count
}

// add takes in the result of a check made at now and tells whether the state has
// changed.
func (v *verdict) add(err error, now time.Time) (changed bool) {
	before := v.state
	switch {
	case err == nil:
		v.state, v.failures = HealthHealthy, 0
	case v.state == HealthStarting && now.Sub(v.started) < v.health.Start.Duration():
	default:
		v.failures++
		if v.failures >= v.health.Retries {
			v.state = HealthUnhealthy
		}
	}
	return v.state != before
}

// watchHealth checks the proc until ctx ends, and records what becomes of it. An
// unhealthy one is stopped, for its restart policy to decide what then.
func (i *instance) watchHealth(ctx context.Context, box *isolate.Sandbox) {
	p := i.recorded().Proc
	v := verdict{health: p.Supervision.Health.withDefaults(), started: *p.Started, state: p.Status}
	if v.state == "" {
		v.state = HealthStarting
		i.setHealth(v.state)
	}
	timer := time.NewTicker(v.health.Interval.Duration())
	defer timer.Stop()
	for {
		err := i.checkHealth(ctx, v.health, p.Port, box)
		if ctx.Err() != nil {
			return
		}
		if shortage(err) != "" { // it says nothing of the app
			i.m.pressed(err)
			i.log.Warn("health not checked", "err", err)
		} else if v.add(err, time.Now()) {
			i.log.Info("health", "health", v.state, "why", err)
			i.setHealth(v.state)
		}
		if v.state == HealthUnhealthy {
			i.fail(fmt.Errorf("unhealthy: %d checks in a row failed, the last: %w", v.failures, err))
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
	}
}

func (i *instance) setHealth(state string) {
	err := i.change(func(r *record) error {
		r.Proc.Status = state
		return nil
	})
	if err != nil {
		i.log.Warn("health not recorded", "health", state, "err", err)
	}
}

// checkHealth makes one check.
func (i *instance) checkHealth(ctx context.Context, h Health, port int, box *isolate.Sandbox) error {
	ctx, cancel := context.WithTimeout(ctx, h.Timeout.Duration())
	defer cancel()
	address := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	switch {
	case h.HTTP != "":
		return checkHTTP(ctx, "http://"+address+h.HTTP)
	case h.TCP:
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
		if err != nil {
			return err
		}
		return conn.Close()
	default:
		return checkExec(ctx, box, h.Exec)
	}
}

// healthClient follows no redirect and keeps no connection: each check is of what
// the proc does now.
var healthClient = &http.Client{
	Transport:     &http.Transport{DisableKeepAlives: true},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

func checkHTTP(ctx context.Context, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	req.Header.Set("User-Agent", "gilliam-health/1")
	res, err := healthClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	_, _ = io.CopyN(io.Discard, res.Body, 64<<10)
	if res.StatusCode < 200 || res.StatusCode > 399 {
		return fmt.Errorf("it answered %s", res.Status)
	}
	return nil
}

// checkExec runs a command in the sandbox; what it writes goes nowhere.
func checkExec(ctx context.Context, box *isolate.Sandbox, args []string) error {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer null.Close()
	x, err := box.Exec(ctx, isolate.Command{Args: args, Stdin: null, Stdout: null, Stderr: null})
	if err != nil {
		return err
	}
	select {
	case <-x.Done():
	case <-ctx.Done():
		return errors.Join(errors.New("the command did not end in time"), x.Signal(9))
	}
	if exit := x.Wait(); exit.Code != 0 {
		return fmt.Errorf("the command exited with %d", exit.Code)
	}
	return nil
}
