//go:build integration

package integration

import (
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/gilliam/hypervisor/integration/registry"
	"github.com/gilliam/hypervisor/integration/testbed"
	"github.com/gilliam/hypervisor/server/proc"
)

// crashable is a hypervisor with failpoints.
var crashable = sync.OnceValues(func() (string, error) {
	path := filepath.Join(builds, "crashable")
	return path, goBuild(path, "../cmd/hypervisor", "CGO_ENABLED=0", "-tags", "failpoints")
})

// templateSteps begins the names of failpoints on the way of a template, which no
// proc passes.
const templateSteps = "template."

// failpoints are the names of all other failpoints in the source.
func failpoints(t *testing.T) []string {
	t.Helper()
	hit := regexp.MustCompile(`failpoint\.Hit\("([^"]+)"( \+ string\(r\.Proc\.State\))?\)`)
	var points []string
	for _, dir := range []string{"../isolate", "../rootfs", "../server"} {
		err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
			if err != nil || filepath.Ext(path) != ".go" {
				return err
			}
			b, err := os.ReadFile(path)
			for _, m := range hit.FindAllStringSubmatch(string(b), -1) {
				if strings.HasPrefix(m[1], templateSteps) {
					continue
				}
				if m[2] == "" {
					points = append(points, m[1])
					continue
				}
				for _, state := range proc.States {
					if state != proc.Done { // written where fail is
						points = append(points, m[1]+string(state))
					}
				}
			}
			return err
		})
		must(t, err)
	}
	slices.Sort(points)
	if len(points) < 30 {
		t.Fatalf("only %d failpoints found: %q", len(points), points)
	}
	return points
}

// A crash is one journey of a proc through a daemon that dies on the way.
type crash struct {
	*daemon
	t        *testing.T
	request  proc.Request
	receiver *mailbox
	id       string // once a POST was answered
	port     int
	deleting bool
}

// The daemon is killed at every step at which it makes, records, gives back or
// asks for something. Whatever it had told a client is so after the next start,
// the program was started as often as it should be, its receiver was told of every
// state, and when the proc is removed nothing is left.
func TestCrashMatrix(t *testing.T) {
	binary, err := crashable()
	must(t, err)
	images := serveImages(t, map[string][]byte{
		"app.tar.gz": pack(t, file{name: "x", content: "y"}), "other.tar.gz": pack(t, file{name: "x", content: "z"}),
	})
	lives := proc.Request{
		App: "crash", Name: "lives", Image: images + "app.tar.gz",
		Command:     proc.Shell("trap 'exit 0' TERM; touch /data/x /sized/x || exit; echo start; while :; do read -t 1 <> <(:); done"),
		Mounts:      []proc.Mount{volume("crash", "/data"), {Type: "volume", Source: "sized", Target: "/sized", Size: 4 << 20}},
		Limits:      proc.Limits{Disk: 2 << 30}, // no layer of which is made ahead
		Supervision: proc.Supervision{Health: &proc.Health{Exec: []string{"true"}, Interval: 0.05}},
	}
	// Its image is a second one, for which the cache has no room beside the first.
	fails := proc.Request{App: "crash", Name: "fails", Image: images + "other.tar.gz", Command: proc.Shell("echo start; exit 3"), Supervision: restart(proc.RestartOnFailure, 1)}
	// This one is a container image, whose command is its own.
	r := registry.New(t)
	r.Push("app:1", layered(t, v1.Config{Cmd: []string{"/usr/bin/sh", "-c", "trap 'exit 0' TERM; echo start; while :; do sleep 0.1; done"}}))
	contained := proc.Request{
		App: "crash", Name: "contained", Image: r.Ref("app:1"),
		Supervision: proc.Supervision{Health: &proc.Health{Exec: []string{"/usr/bin/sh", "-c", ":"}, Interval: 0.05}},
	}
	var table strings.Builder
	for _, point := range failpoints(t) {
		t.Run(point, func(t *testing.T) {
			testbed.Leaves(t)
			runDir := filepath.Join(t.TempDir(), "run")
			d := newDaemon(t, t.TempDir(), portRange(), "--allow-net", "127.0.0.0/8", "--run-dir", runDir, "--restart-wait", "10ms", "--grace", "5s",
				"--image-cache-size", "1K")
			d.binary, d.env = binary, []string{"GILLIAM_FAILPOINT=" + point}
			d.start()
			c := &crash{daemon: d, t: t, receiver: newMailbox(t)}
			for _, c.request = range []proc.Request{lives, fails, contained} {
				c.request.Callback = c.receiver.url()
				if c.journey(); c.dead() {
					break
				}
			}
			if !c.dead() {
				t.Fatal("the daemon never got there")
			}
			if status := d.cmd.ProcessState.Sys().(syscall.WaitStatus); status.Signal() != syscall.SIGKILL {
				t.Fatalf("the daemon ended with %v", d.cmd.ProcessState)
			}
			d.env = nil
			d.start()
			fmt.Fprintf(&table, "%-28s %-6s %s\n", point, c.request.Name, c.aftermath())
			c.noVolumes()
			c.toldAll()
			d.stop()
			if _, err := os.Stat(runDir); !os.IsNotExist(err) {
				left, _ := filepath.Glob(runDir + "/*/*")
				t.Errorf("leases are left: %q", left)
			}
		})
	}
	t.Logf("killed at, while a proc that; then\n%s", table.String())
}

func (c *crash) dead() bool {
	select {
	case <-c.exited:
		return true
	default:
		return false
	}
}

// toldAll checks that the receiver has heard of all procs that there were, now that
// they are gone, from their first state to their last.
func (c *crash) toldAll() {
	c.t.Helper()
	c.allTold()
	heard := map[string]bool{c.id: true}
	for _, d := range c.receiver.taken() {
		heard[d.proc] = true
	}
	delete(heard, "") // the POST was not answered
	for id := range heard {
		states := c.receiver.states(c.t, id)
		if len(states) < 3 || states[0] != "init" || !proc.State(states[len(states)-1]).Ended() {
			c.t.Errorf("proc %s: told %q", id, states)
		}
	}
}

// journey makes the proc, waits until it is as it should be, and removes it, as
// far as it gets.
func (c *crash) journey() {
	c.t.Helper()
	c.id, c.deleting = "", false
	a := c.do(http.MethodPost, "/v1/procs", c.request)
	if a.err != nil {
		c.awaitDeath()
		return
	}
	p := decode[proc.Proc](c.t, a)
	c.id, c.port = p.ID, p.Port
	testbed.Within(c.t, patience, "the journey", func() bool {
		a := c.do(http.MethodGet, "/v1/procs/"+c.id, nil)
		if a.err != nil {
			return c.dead()
		}
		return c.arrived(decode[proc.Proc](c.t, a))
	})
	if c.dead() || c.request.Restart != nil && c.damage() {
		return
	}
	c.deleting = true
	if a := c.do(http.MethodDelete, "/v1/procs/"+c.id, nil); a.err != nil {
		c.awaitDeath()
		return
	}
	for _, name := range []string{"crash", "sized"} {
		if a := c.do(http.MethodDelete, "/v1/volumes/"+name, nil); a.err != nil {
			c.awaitDeath()
			return
		}
	}
}

// damage changes the image of the proc on the disk and has it verified, and tells
// whether the daemon died of that.
func (c *crash) damage() bool {
	c.t.Helper()
	files, err := filepath.Glob(filepath.Join(c.stateDir, "cache", "[0-9a-f]*", "tree", "x"))
	must(c.t, err)
	for _, f := range files {
		must(c.t, os.WriteFile(f, []byte("damaged"), 0o644))
		id := filepath.Base(filepath.Dir(filepath.Dir(f)))
		if a := c.do(http.MethodPost, "/v1/images/"+id+"/verify", nil); a.err != nil {
			c.awaitDeath()
			return true
		} else if a.status != http.StatusOK {
			c.t.Errorf("verify: %s", a)
		}
	}
	return false
}

func (c *crash) awaitDeath() {
	c.t.Helper()
	soon(c.t, c.exited, "the daemon's end")
}

// noVolumes removes the volumes, whole or not there as they must be.
func (c *crash) noVolumes() {
	c.t.Helper()
	for _, name := range []string{"crash", "sized"} {
		if a := c.do(http.MethodDelete, "/v1/volumes/"+name, nil); a.status != http.StatusNoContent && a.status != http.StatusNotFound {
			c.t.Errorf("volume %s: %s", name, a)
		}
	}
	if left, err := os.ReadDir(filepath.Join(c.stateDir, "volumes")); err != nil || len(left) > 0 {
		c.t.Errorf("left of the volumes: %v %v", left, err)
	}
}

// arrived tells whether the proc is where it stays.
func (c *crash) arrived(p proc.Proc) bool {
	if c.request.Restart != nil {
		return p.State.Ended()
	}
	return p.State == proc.Running && p.Status == proc.HealthHealthy
}

// aftermath checks what the next daemon makes of it, and says it in words.
func (c *crash) aftermath() string {
	c.t.Helper()
	procs := c.list("")
	switch {
	case len(procs) == 0 && (c.id == "" || c.deleting):
		return "not there"
	case len(procs) != 1 || c.id != "" && procs[0].ID != c.id:
		c.t.Fatalf("got %+v, want %s", procs, c.id)
	}
	if c.deleting { // whether that was known before the crash or not, it can be said again
		if a := c.do(http.MethodDelete, "/v1/procs/"+procs[0].ID, nil); a.status != http.StatusNoContent && a.status != http.StatusNotFound {
			c.t.Errorf("removed again: %s", a)
		}
		if left := c.list(""); len(left) > 0 {
			c.t.Errorf("it is there still: %+v", left)
		}
		return "removed"
	}
	p := c.until(procs[0].ID, "the state after the crash", c.arrived)
	if c.id != "" && p.Port != c.port {
		c.t.Errorf("port %d, was %d", p.Port, c.port)
	}
	want := []string{"stdout: start"}
	if c.request.Restart != nil {
		want = append(want, want[0])
		if p.State != proc.Fail || p.Restarts != 1 || *p.ExitCode != 3 {
			c.t.Errorf("got %+v", p)
		}
	} else if r := c.cli(c.t, "inspect", "--verify", p.ID); r.code != 0 {
		c.t.Errorf("verify: %s", r)
	}
	c.follow(p.ID).until(want[0])
	if got := c.logs(p.ID, ""); !slices.Equal(got, want) {
		c.t.Errorf("got %q, want %q", got, want)
	}
	c.remove(p.ID)
	return "state " + string(p.State)
}
