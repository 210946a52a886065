//go:build integration

package integration

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gilliam/hypervisor/integration/testbed"
	"github.com/gilliam/hypervisor/isolate"
	"github.com/gilliam/hypervisor/server/proc"
)

// nothingLeft fails the test when a folder, a socket or a port is left. Mounts,
// processes and cgroups are for testbed.Leaves.
func (d *daemon) nothingLeft() {
	d.tb.Helper()
	d.noFolders()
	if _, err := os.Lstat(d.socket); err == nil {
		d.tb.Errorf("the socket %s is left", d.socket)
	}
	for port := d.basePort; port < d.basePort+poolSize; port++ {
		free(d.tb, net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	}
	if d.tcp != "" {
		free(d.tb, d.tcp)
	}
}

// noFolders fails the test when a layer or half an image is in the state folder.
func (d *daemon) noFolders() {
	d.tb.Helper()
	for pattern, what := range map[string]string{"cache/.fetch-*": "half an image", "volumes/.*": "half a volume", "procs/.trash-*": "removed proc"} {
		left, err := filepath.Glob(filepath.Join(d.stateDir, pattern))
		if err != nil {
			d.tb.Fatal(err)
		}
		for _, path := range left {
			d.tb.Errorf("%s is left: %s", what, path)
		}
	}
	d.noLayersBut(d.tb, nil)
}

// noLayersBut fails the test when a layer is there that is none of these procs', or
// one that was removed, once the daemon has had its time for that. Those that it makes
// ahead are its own, while it runs.
func (d *daemon) noLayersBut(tb testing.TB, known map[string]bool) {
	tb.Helper()
	var left []string
	testbed.Eventually(10*time.Second, func() bool {
		entries, err := os.ReadDir(filepath.Join(d.stateDir, "layers"))
		if !errors.Is(err, fs.ErrNotExist) { // the daemon did not come to make it
			must(tb, err)
		}
		left = nil
		for _, e := range entries {
			if ahead := strings.HasPrefix(e.Name(), readyLayer) && d.alive(); !ahead && !known[e.Name()] {
				left = append(left, e.Name())
			}
		}
		return len(left) == 0
	})
	for _, name := range left {
		tb.Errorf("layer is left: %s", name)
	}
}

// readyLayer begins the names of layers that are made ahead.
const readyLayer = ".ready-"

func (d *daemon) alive() bool {
	select {
	case <-d.exited:
		return false
	default:
		return true
	}
}

// nothingLeftOf fails the test when there is more of a proc that was removed
// than there was before it.
func (d *daemon) nothingLeftOf(tb testing.TB, p proc.Proc) {
	tb.Helper()
	left := cgroups(tb, p.ID)
	for _, pattern := range []string{"*/" + p.ID, "*/.*" + p.ID} {
		found, err := filepath.Glob(filepath.Join(d.stateDir, pattern))
		must(tb, err)
		left = append(left, found...)
	}
	if len(left) > 0 {
		tb.Errorf("left of the proc: %q", left)
	}
	free(tb, net.JoinHostPort("127.0.0.1", strconv.Itoa(p.Port)))
}

// cgroups are the cgroups of a proc, in all hierarchies.
func cgroups(tb testing.TB, id string) (found []string) {
	tb.Helper()
	for _, hierarchy := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/*"} {
		dirs, err := filepath.Glob(hierarchy + isolate.CgroupParent + "/" + id)
		must(tb, err)
		found = append(found, dirs...)
	}
	return found
}

// markOf copies the mark of one cgroup to another.
func markOf(tb testing.TB, from, to string) {
	tb.Helper()
	const attr = "trusted.gilliam.owner"
	b := make([]byte, 4096)
	n, err := unix.Getxattr(from, attr, b)
	must(tb, err)
	must(tb, unix.Setxattr(to, attr, b[:n], 0))
}

// nothingLeftBut fails the test when a layer or a record is there that is none
// of these procs'.
func (d *daemon) nothingLeftBut(tb testing.TB, procs ...proc.Proc) {
	tb.Helper()
	known := map[string]bool{}
	for _, p := range procs {
		known[p.ID] = true
	}
	entries, err := os.ReadDir(filepath.Join(d.stateDir, "procs"))
	must(tb, err)
	for _, e := range entries {
		if !known[e.Name()] {
			tb.Errorf("procs/%s is left", e.Name())
		}
	}
	d.noLayersBut(tb, known)
}

// free fails the test when nobody could listen on the address.
func free(tb testing.TB, addr string) {
	tb.Helper()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		tb.Errorf("the port is not free again: %v", err)
		return
	}
	l.Close()
}

// noErrors fails the test when the daemon said that an operator must look.
func (d *daemon) noErrors() {
	d.tb.Helper()
	log := d.log()
	for line := range strings.Lines(log) {
		if strings.Contains(line, "bug: ") && !d.bugsExpected || strings.Contains(line, `"level":"ERROR"`) && !d.errorsExpected {
			d.tb.Errorf("the daemon logged %s", line)
		}
	}
	if strings.Contains(log, "DATA RACE") {
		d.tb.Error("DATA RACE in the daemon")
	}
}

// gone waits until a process has ended.
func gone(tb testing.TB, pid int) {
	tb.Helper()
	testbed.Within(tb, patience, fmt.Sprintf("end of process %d", pid), func() bool {
		_, err := os.Stat(fmt.Sprintf("/proc/%d", pid))
		return err != nil
	})
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}
