//go:build integration

package integration

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/gilliam/hypervisor/server"
	"github.com/gilliam/hypervisor/server/proc"
)

// A kind is what an app does by itself.
type kind struct {
	what     string
	command  string
	also     proc.Supervision
	ends     bool   // by itself, with code, after so many restarts
	code     int    // of its exit
	restarts int    // until then
	again    bool   // it is started again whatever ended it
	line     string // the last that it writes when it ends by itself
}

func soakKinds() []kind {
	const counts = `echo start; n=0; while :; do echo $((n++)); read -t 0.05 <> <(:); done`
	checked := proc.Supervision{Health: &proc.Health{Exec: []string{"true"}, Interval: 0.05, Timeout: 15}}
	return []kind{
		{what: "exits", command: "echo start; read -t 0.0%d <> <(:); echo end; exit %d", ends: true, line: "end"},
		{what: "counts", command: `trap 'echo bye; exit 0' TERM; ` + counts},
		{what: "counts and is checked", command: counts, also: checked},
		{what: "ignores SIGTERM", command: `trap '' TERM; ` + counts},
		{what: "fails, three times", command: "echo start; exit 3", also: restart(proc.RestartOnFailure, 2), ends: true, code: 3, restarts: 2, line: "start"},
		{what: "is started again", command: counts, also: restart(proc.RestartAlways, 0), again: true},
		{what: "listens", command: "echo start; exec python3 -m http.server $PORT 2>/dev/null", also: proc.Supervision{BootTimeout: 60}},
		{what: "outlives its ttl", command: counts, also: proc.Supervision{TTL: 0.7}},
	}
}

// An act is what one client does in a step.
type act struct {
	what  string
	maybe func()        // what may be true from now on; nil: nothing
	do    func() func() // in a goroutine of its own; returns what is learned of it
}

// mayBe takes down what may come true, before it may.
func (s *soak) mayBe(acts []act) {
	for _, a := range acts {
		if a.maybe != nil {
			a.maybe()
		}
	}
}

// choose is what the clients do in the next step, each to another proc.
func (s *soak) choose() (acts []act) {
	if s.drained && s.r.IntN(2) == 0 {
		s.want(http.StatusNoContent, http.MethodDelete, "/v1/drain", nil, nil)
		s.drained = false
	}
	all := s.those(func(*model) bool { return true })
	s.r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	next := func() *model {
		if len(all) == 0 {
			return nil
		}
		m := all[0]
		all = all[1:]
		return m
	}
	for range 1 + s.r.IntN(6) {
		n := s.r.IntN(100)
		if n < 40 {
			if len(s.models) < soakProcs {
				acts = append(acts, s.creation())
			}
			continue
		}
		if n >= 97 {
			acts = append(acts, s.look("scrape", "/metrics"))
			continue
		}
		if n >= 96 {
			return append(acts, s.drain())
		}
		m := next()
		if m == nil {
			continue
		}
		switch {
		case n < 55:
			acts = append(acts, s.stop(m))
		case n < 72:
			acts = append(acts, s.removal(m))
		case n < 80:
			acts = append(acts, s.followed(m))
		case n < 86:
			acts = append(acts, act{what: "read log", do: func() func() {
				return func() { s.readLog(m) }
			}})
		case n < 91:
			acts = append(acts, s.look("wait", "/v1/procs/"+m.id+"/wait?timeout=100ms"))
		default:
			acts = append(acts, s.verification(m))
		}
	}
	return acts
}

// unexpected fails the test when the daemon answered something that it may not. It
// tells whether there was an answer at all.
func (s *soak) unexpected(what string, a answer, want ...int) bool {
	if a.err != nil {
		return false // it was killed
	}
	for _, status := range want {
		if a.status == status {
			return true
		}
	}
	s.t.Errorf("%s: got %s, want %d", what, a, want)
	return true
}

func (s *soak) creation() act {
	kinds := soakKinds()
	m := &model{kind: kinds[s.r.IntN(len(kinds))], name: fmt.Sprintf("n%06d", s.made), made: possible}
	s.made++
	if m.what == "exits" {
		m.code = s.r.IntN(120)
		m.command = fmt.Sprintf(m.command, s.r.IntN(10), m.code)
	}
	if m.also.TTL > 0 {
		m.stopped = possible
	}
	r := proc.Request{
		App: "soak", Name: m.name, Command: proc.Shell(m.command), Supervision: m.also, Callback: s.receiver.url(),
		Limits: proc.Limits{Memory: 64 << 20},
	}
	drained := s.drained
	return act{what: "create", maybe: func() { s.models[m.name] = m }, do: func() func() {
		a := s.do(http.MethodPost, "/v1/procs", r)
		if !s.unexpected("create", a, http.StatusCreated, http.StatusServiceUnavailable) {
			return nil
		}
		return func() {
			if a.status == http.StatusCreated {
				m.made, m.last = certain, decode[proc.Proc](s.t, a)
				m.id = m.last.ID
			} else if delete(s.models, m.name); !drained && !s.drained && !strings.Contains(a.body, "shutting down") {
				s.t.Errorf("create: got %s", a)
			}
		}
	}}
}

func (s *soak) grace() string {
	return []string{"", "?grace=0s", "?grace=100ms"}[s.r.IntN(3)]
}

func (s *soak) stop(m *model) act {
	path := "/v1/procs/" + m.id + "/stop" + s.grace()
	return act{what: "stop", maybe: func() { m.stopped = max(m.stopped, possible) }, do: func() func() {
		a := s.do(http.MethodPost, path, nil)
		if !s.unexpected("stop", a, http.StatusOK, http.StatusNotFound, http.StatusServiceUnavailable) {
			return nil
		}
		return func() {
			if a.status == http.StatusNotFound && m.removed == no {
				s.t.Errorf("stop %s: got %s", m.name, a)
			}
			if a.status == http.StatusOK {
				m.stopped = certain
				if p := decode[proc.Proc](s.t, a); !p.State.Ended() {
					s.t.Errorf("%s was stopped: %+v", m.name, p)
				}
			}
		}
	}}
}

func (s *soak) removal(m *model) act {
	path := "/v1/procs/" + m.id + s.grace()
	return act{what: "remove", maybe: func() { m.stopped, m.removed = max(m.stopped, possible), max(m.removed, possible) }, do: func() func() {
		a := s.do(http.MethodDelete, path, nil)
		// One that an earlier daemon was told to remove may go by itself.
		if !s.unexpected("remove", a, http.StatusNoContent, http.StatusNotFound, http.StatusServiceUnavailable) || a.status == http.StatusServiceUnavailable {
			return nil
		}
		return func() { m.stopped, m.removed = certain, certain }
	}}
}

// followed follows a log for a moment: what was written comes in order.
func (s *soak) followed(m *model) act {
	return act{what: "follow", do: func() func() {
		ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
		defer cancel()
		res, err := s.send(ctx, http.MethodGet, "/v1/procs/"+m.id+"/logs?follow=true", nil, "Accept", server.MIMELines)
		if err != nil {
			return nil
		}
		defer res.Body.Close()
		if res.StatusCode != http.StatusOK {
			return nil
		}
		n := -1 // the next number; before the first start there is none
		for lines := bufio.NewScanner(res.Body); lines.Scan(); {
			switch line := logLine(s.t, lines.Bytes()).Text; line {
			case "start":
				n = 0
			case "end", "bye":
			default:
				if line != fmt.Sprint(n) {
					s.t.Errorf("%s, followed: line %q, want %d", m.name, line, n)
				}
				n++
			}
		}
		return nil
	}}
}

// verification asks the kernel whether a proc's sandbox is what its plan says.
func (s *soak) verification(m *model) act {
	return act{what: "verify", do: func() func() {
		a := s.do(http.MethodGet, "/v1/procs/"+m.id+"/verify", nil)
		if s.unexpected("verify", a, http.StatusOK, http.StatusConflict, http.StatusNotFound) && a.status == http.StatusOK && !strings.Contains(a.body, `"differences":[]`) {
			s.t.Errorf("verify %s: %s", m.name, a)
		}
		return nil
	}}
}

// look asks for something whose answer does not matter.
func (s *soak) look(what, path string) act {
	return act{what: what, do: func() func() {
		s.unexpected(what, s.do(http.MethodGet, path, nil), http.StatusOK, http.StatusAccepted, http.StatusNotFound, http.StatusServiceUnavailable)
		return nil
	}}
}

func (s *soak) drain() act {
	return act{what: "drain", maybe: func() {
		s.drained = true
		for _, m := range s.models {
			m.stopped = max(m.stopped, possible)
		}
	}, do: func() func() {
		if a := s.do(http.MethodPost, "/v1/drain", nil); !s.unexpected("drain", a, http.StatusNoContent, http.StatusServiceUnavailable) || a.status != http.StatusNoContent {
			return func() { s.drained = false } // the next daemon knows nothing of it
		}
		return nil
	}}
}
