package main

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gilliam/hypervisor/integration/vm/job"
	"github.com/gilliam/hypervisor/server"
	"github.com/gilliam/hypervisor/server/proc"
)

// clock sets the machine's clock to and fro under procs that run, and says what is
// amiss afterwards.
func clock(dir string) error {
	h, err := startHypervisor(dir)
	if err != nil {
		return err
	}
	var amiss []string
	var long proc.Proc
	const counts = "n=0; while :; do echo $((n++)); read -t 0.2 <> <(:); done"
	err = h.ask(http.MethodPost, "/v1/procs", proc.Request{App: "clock", Name: "long", Command: proc.Shell(counts), Supervision: proc.Supervision{
		TTL: 3600, Health: &proc.Health{Exec: []string{"true"}, Interval: 0.5, Timeout: 60},
	}}, &long)
	if err != nil {
		return err
	}
	const year = 365 * 24 * time.Hour
	for _, jump := range []time.Duration{0, year, -2 * year, year} {
		if err := setClock(jump); err != nil {
			return err
		}
		found, err := h.undisturbed(long.ID, jump)
		if err != nil {
			return err
		}
		amiss = append(amiss, found...)
	}
	say(job.Checked, job.Seen{Amiss: append(amiss, h.complaints()...)})
	return h.stop()
}

// setClock moves the clock by so much (clock_settime(2)).
func setClock(by time.Duration) error {
	if by == 0 {
		return nil
	}
	t, err := unix.TimeToTimespec(time.Now().Add(by))
	if err != nil {
		return err
	}
	return unix.ClockSettime(unix.CLOCK_REALTIME, &t)
}

// undisturbed waits until a proc has gone on for a while, and stops another one that
// has to be killed. It says what took too long or too short, and what has ended.
func (h *hypervisor) undisturbed(id string, jump time.Duration) (amiss []string, err error) {
	var before string
	if err := h.ask(http.MethodGet, "/v1/procs/"+id+"/logs", nil, &before); err != nil {
		return nil, err
	}
	begun, lines := time.Now(), strings.Count(before, "\n")+15
	for {
		var p proc.Proc
		var log string
		err := errors.Join(h.ask(http.MethodGet, "/v1/procs/"+id, nil, &p), h.ask(http.MethodGet, "/v1/procs/"+id+"/logs", nil, &log))
		if err != nil {
			return nil, err
		}
		if p.State.Ended() {
			return append(amiss, fmt.Sprintf("the clock went by %v, and it has ended: %s", jump, p.Reason)), nil
		}
		if strings.Count(log, "\n") >= lines && p.Status == proc.HealthHealthy {
			break
		}
		if time.Since(begun) > time.Minute {
			return append(amiss, fmt.Sprintf("the clock went by %v, and it does not go on: %+v", jump, p)), nil
		}
	}
	const grace = 2 * time.Second
	stubborn, err := h.create("stubborn", "trap '' TERM; echo up; while :; do read -t 1 <> <(:); done")
	if err != nil {
		return nil, err
	}
	for log := ""; log == ""; {
		if err := h.ask(http.MethodGet, "/v1/procs/"+stubborn.ID+"/logs", nil, &log); err != nil {
			return nil, err
		}
	}
	asked := time.Now()
	if err := h.ask(http.MethodPost, "/v1/procs/"+stubborn.ID+"/stop?grace="+grace.String(), nil, nil); err != nil {
		return nil, err
	}
	if took := time.Since(asked); took < grace || took > grace+time.Minute { // the processor is emulated
		amiss = append(amiss, fmt.Sprintf("the clock went by %v, and a stop with a grace of %v took %v", jump, grace, took))
	}
	var l server.ProcList
	if err := h.ask(http.MethodGet, "/v1/procs", nil, &l); err != nil {
		return nil, err
	}
	if len(l.Procs) < 2 {
		amiss = append(amiss, fmt.Sprintf("the clock went by %v, and %d procs are listed", jump, len(l.Procs)))
	}
	return amiss, nil
}
