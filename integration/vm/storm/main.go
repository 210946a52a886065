package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/gilliam/hypervisor/integration/vm/job"
)

func main() {
	verbs := map[string]func(dir string) error{"storm": storm, "check": check, "clock": clock, "faulty": faulty}
	if len(os.Args) != 3 || verbs[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: storm storm|check|clock|faulty DIR")
		os.Exit(2)
	}
	if err := verbs[os.Args[1]](os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "storm:", err)
		os.Exit(1)
	}
}

// speaking keeps one fact from being printed into another.
var speaking sync.Mutex

func say(name string, s job.Seen) {
	speaking.Lock()
	defer speaking.Unlock()
	_, _ = os.Stdout.WriteString(job.SeenFact(name, s))
}

// storm does not return.
func storm(dir string) error {
	h, err := startHypervisor(dir)
	if err != nil {
		return err
	}
	procs, err := h.report()
	if err != nil {
		return err
	}
	clients := func() error { return h.clients(procs) }
	for _, work := range []func() error{clients, clients, h.keep} {
		// Ends with the machine, which loses its power.
		go func() {
			fmt.Println("storm:", work())
			os.Exit(1)
		}()
	}
	return clients()
}

// check ends the hypervisor as its operator would.
func check(dir string) error {
	h, err := startHypervisor(dir)
	if err != nil {
		return err
	}
	if _, err := h.report(); err != nil {
		return err
	}
	return h.stop()
}

// known are procs that a client may do something to.
type known struct {
	mu  sync.Mutex
	all []job.Seen
}

func (k *known) add(s job.Seen) int {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.all = append(k.all, s)
	return len(k.all)
}

func (k *known) take() (job.Seen, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.all) == 0 {
		return job.Seen{}, false
	}
	n := rand.IntN(len(k.all))
	s := k.all[n]
	k.all = append(k.all[:n], k.all[n+1:]...)
	return s, true
}

// most is how many procs there are at a time, about: each takes the emulated
// processor a moment at the next start.
const most = 8

// clients makes, stops and removes procs until something goes wrong, and returns that.
func (h *hypervisor) clients(procs *known) error {
	for {
		s, err := h.make()
		if err != nil {
			return err
		}
		for count := procs.add(s); count > rand.IntN(most); count-- {
			s, ok := procs.take()
			if !ok {
				break
			}
			if err := h.end(s, procs); err != nil {
				return err
			}
		}
	}
}

// commands are what the procs do, by the beginnings of their names.
var commands = []struct{ name, command string }{
	{"exits-%d", "echo start; echo end; exit %d"},
	{"sleeps-%d", "echo start; exec sleep 100%d"},
	{"obeys-%d", "trap 'echo bye; exit %d' TERM; echo start; while :; do read -t 1 <> <(:); done"},
}

// make asks for a proc, and waits for its end if that comes by itself.
func (h *hypervisor) make() (job.Seen, error) {
	c, number := commands[rand.IntN(len(commands))], 1+rand.IntN(100)
	name := fmt.Sprintf(c.name, number) + fmt.Sprintf("-%x", rand.Uint32())
	say(job.Asking, job.Seen{Name: name})
	s, err := h.create(name, fmt.Sprintf(c.command, number))
	if err != nil {
		return s, err
	}
	say(job.Made, s)
	if strings.HasPrefix(name, "exits") {
		if s, err = h.wait(s.ID); err == nil {
			say(job.Ended, s)
		}
	}
	return s, err
}

// end stops a proc, or removes it.
func (h *hypervisor) end(s job.Seen, procs *known) (err error) {
	if rand.IntN(3) > 0 {
		say(job.Removing, s)
		if err := h.remove(s.ID); err != nil {
			return err
		}
		say(job.Removed, s)
		return nil
	}
	say(job.Stopping, s)
	if s, err = h.stopProc(s.ID); err != nil {
		return err
	}
	say(job.Ended, s)
	procs.add(s)
	return nil
}

// report tells what there is once everything has settled: no proc is on its way
// any more. Then it looks into the volume.
func (h *hypervisor) report() (*known, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	all, err := h.settled(ctx)
	if err != nil {
		return nil, err
	}
	procs := new(known)
	for _, s := range all {
		say(job.Found, s)
		procs.add(s)
	}
	amiss, err := h.amiss(all)
	if err != nil {
		return nil, err
	}
	say(job.Checked, job.Seen{Amiss: amiss})
	return procs, h.look()
}

// amiss is what is there and should not be.
func (h *hypervisor) amiss(all []job.Seen) (amiss []string, err error) {
	leaks, err := h.leaks()
	if err != nil {
		return nil, err
	}
	for _, l := range leaks {
		amiss = append(amiss, "leak "+l)
	}
	is := map[string]string{}
	for _, s := range all {
		is[s.ID] = s.State
	}
	for pattern, what := range map[string]string{
		"set-aside/*": "set aside", "cache/.[a-z]*": "half an image", "procs/.[a-z]*": "a removed proc", "procs/*/.new-*": "a record that was being written",
		"layers/.[a-z]*": "a removed layer", "volumes/.[a-z]*": "half a volume",
	} {
		found, err := filepath.Glob(filepath.Join(h.dir, pattern))
		if err != nil {
			return nil, err
		}
		for _, path := range found {
			if madeAhead(path) {
				continue
			}
			amiss = append(amiss, what+": "+path)
		}
	}
	layers, err := filepath.Glob(filepath.Join(h.dir, "layers/*"))
	for _, path := range layers {
		if state := is[filepath.Base(path)]; state != "running" && !madeAhead(path) {
			amiss = append(amiss, fmt.Sprintf("the layer %s of a proc in state %q", path, state))
		}
	}
	return append(amiss, h.complaints()...), err
}

// madeAhead tells whether a layer was made before anybody knows whose it will be.
func madeAhead(path string) bool { return strings.HasPrefix(filepath.Base(path), ".ready-") }
