package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/gilliam/hypervisor/integration/vm/job"
	"github.com/gilliam/hypervisor/server"
	"github.com/gilliam/hypervisor/server/proc"
)

// A hypervisor serves in the same machine.
type hypervisor struct {
	dir    string // of its state
	cmd    *exec.Cmd
	client *http.Client
}

// logPath is where the hypervisor logs: on the disk that forgets.
const logPath = job.TempDir + "/hypervisor.log"

// startHypervisor returns when it serves.
func startHypervisor(dir string) (*hypervisor, error) {
	h := &hypervisor{dir: filepath.Join(dir, "hypervisor")}
	socket := job.TempDir + "/hypervisor.sock"
	h.client = &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}}
	if err := os.Mkdir(h.dir, 0o700); err != nil && !os.IsExist(err) {
		return nil, err
	}
	log, err := os.Create(logPath)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	h.cmd = exec.Command(job.BinDir+"/hypervisor", "serve", "--state-dir", h.dir, "--template", job.TemplateDir, "--socket", socket,
		"--port", "0", "--log-sink", "none", "--log-format", "json", "--grace", "5s", "--stop-on-exit", "--allow-bind", job.BinDir)
	h.cmd.Stderr = log
	if err := h.cmd.Start(); err != nil {
		return nil, err
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(2 * time.Minute); ; <-tick.C {
		err := h.ask(http.MethodGet, "/readyz", nil, nil)
		if err == nil {
			return h, nil
		}
		if time.Now().After(deadline) {
			text, _ := os.ReadFile(logPath)
			return nil, fmt.Errorf("the hypervisor is not ready: %w\n%s", err, text)
		}
	}
}

// stop ends the hypervisor as its operator would, and all procs with it.
func (h *hypervisor) stop() error {
	if err := h.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	return h.cmd.Wait()
}

// ask sends a request that must succeed, and decodes the answer into out.
func (h *hypervisor) ask(method, path string, body, out any) error {
	var content io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return err
		}
		content = bytes.NewReader(b)
	}
	req, err := http.NewRequest(method, "http://hypervisor"+path, content)
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := h.client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	switch text, plain := out.(*string); {
	case err != nil:
		return err
	case res.StatusCode > 299:
		return fmt.Errorf("%s %s: %s %s", method, path, res.Status, b)
	case plain:
		*text = string(b)
		return nil
	case out == nil:
		return nil
	}
	return json.Unmarshal(b, out)
}

func (h *hypervisor) create(name, command string) (job.Seen, error) {
	var p proc.Proc
	err := h.ask(http.MethodPost, "/v1/procs", proc.Request{App: "storm", Name: name, Command: proc.Shell(command)}, &p)
	return seen(p), err
}

func (h *hypervisor) wait(id string) (job.Seen, error) {
	var p proc.Proc
	if err := h.ask(http.MethodGet, "/v1/procs/"+id+"/wait?timeout=2m", nil, &p); err != nil {
		return job.Seen{}, err
	}
	return h.withLog(p)
}

func (h *hypervisor) stopProc(id string) (job.Seen, error) {
	var p proc.Proc
	if err := h.ask(http.MethodPost, "/v1/procs/"+id+"/stop", nil, &p); err != nil {
		return job.Seen{}, err
	}
	return h.withLog(p)
}

func (h *hypervisor) remove(id string) error {
	return h.ask(http.MethodDelete, "/v1/procs/"+id, nil, nil)
}

func (h *hypervisor) withLog(p proc.Proc) (job.Seen, error) {
	s := seen(p)
	return s, h.ask(http.MethodGet, "/v1/procs/"+p.ID+"/logs", nil, &s.Log)
}

func seen(p proc.Proc) job.Seen {
	s := job.Seen{ID: p.ID, Name: p.Name, State: string(p.State), Code: -1, Reason: p.Reason, Port: p.Port}
	if p.ExitCode != nil {
		s.Code = *p.ExitCode
	}
	if p.Ended != nil {
		s.Ended = *p.Ended
	}
	return s
}

// settled are all procs, once each runs or has ended.
func (h *hypervisor) settled(ctx context.Context) (all []job.Seen, err error) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		var l server.ProcList
		if err := h.ask(http.MethodGet, "/v1/procs", nil, &l); err != nil {
			return nil, err
		}
		all = all[:0]
		for _, p := range l.Procs {
			// What ends by itself is waited for, too.
			if p.State == proc.Init || p.State == proc.Boot || p.State == proc.Running && strings.HasPrefix(p.Name, "exits") {
				break
			}
			s, err := h.withLog(p)
			if err != nil {
				return nil, err
			}
			all = append(all, s)
		}
		if len(all) == len(l.Procs) {
			return all, nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, fmt.Errorf("procs are on their way still: %+v", l.Procs)
		}
	}
}

func (h *hypervisor) leaks() (names []string, err error) {
	var f server.Findings
	err = h.ask(http.MethodGet, "/v1/doctor", nil, &f)
	for _, l := range f.Leaks {
		names = append(names, l.Kind+" "+l.Name)
	}
	return names, err
}

// complaints are the errors that the hypervisor has logged.
func (h *hypervisor) complaints() (lines []string) {
	text, err := os.ReadFile(logPath)
	if err != nil {
		return []string{err.Error()}
	}
	for line := range strings.Lines(string(text)) {
		if strings.Contains(line, `"level":"ERROR"`) || strings.Contains(line, "bug: ") {
			lines = append(lines, line)
		}
	}
	return lines
}
