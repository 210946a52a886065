package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"strings"

	"github.com/gilliam/hypervisor/integration/vm/job"
	"github.com/gilliam/hypervisor/server/proc"
)

// kept is a volume with a size, and with all that was ever flushed in it.
var kept = proc.Mount{Type: "volume", Source: "kept", Target: "/data", Size: 128 << 20}

// programs are what storm itself is one of, for apps to run.
var programs = proc.Mount{Type: "bind", Source: job.BinDir, Target: "/programs", ReadOnly: true}

// keeper asks for an app that writes to the volume, or looks what is there. That is
// the program powercut: what it says in its log are facts.
func (h *hypervisor) keeper(verb string, limits proc.Limits) (job.Seen, error) {
	name := fmt.Sprintf("%s-0-%x", verb, rand.Uint32())
	say(job.Asking, job.Seen{Name: name})
	var p proc.Proc
	err := h.ask(http.MethodPost, "/v1/procs", proc.Request{
		App: "storm", Name: name, Command: proc.Exec(programs.Target+"/powercut", verb, kept.Target),
		Mounts: []proc.Mount{kept, programs}, Limits: limits,
	}, &p)
	if err == nil {
		say(job.Made, seen(p))
	}
	return seen(p), err
}

// keep has an app write to the volume, and says each number that it has flushed. It
// returns when that app ends, which it does not by itself. The app has one
// processor, lest it keep others from being made.
func (h *hypervisor) keep() error {
	s, err := h.keeper("write", proc.Limits{CPU: 1})
	if err != nil {
		return err
	}
	res, err := h.client.Get("http://hypervisor/v1/procs/" + s.ID + "/logs?follow=true")
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("logs of %s: %s", s.Name, res.Status)
	}
	lines := bufio.NewScanner(res.Body)
	said := ""
	for lines.Scan() {
		said = lines.Text()
		repeat(said)
	}
	return errors.Join(fmt.Errorf("%s has ended: %s", s.Name, said), lines.Err())
}

// look says what there is in the volume: a power cut took none of what was flushed. The
// app that looks is removed again.
func (h *hypervisor) look() error {
	s, err := h.keeper("check", proc.Limits{})
	if err != nil {
		return err
	}
	if s, err = h.wait(s.ID); err != nil {
		return err
	}
	if s.State != string(proc.Done) {
		return fmt.Errorf("look into the volume: %+v", s)
	}
	for line := range strings.Lines(s.Log) {
		repeat(strings.TrimSuffix(line, "\n"))
	}
	say(job.Removing, s)
	if err := h.remove(s.ID); err != nil {
		return err
	}
	say(job.Removed, s)
	return nil
}

// repeat says what an app has said, a line of its own.
func repeat(line string) {
	speaking.Lock()
	defer speaking.Unlock()
	_, _ = io.WriteString(os.Stdout, "\n"+line+"\n")
}
