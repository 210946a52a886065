//go:build integration

package oracle

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gilliam/hypervisor/integration/testbed"
	"github.com/gilliam/hypervisor/isolate"
)

// A report is all that was seen of one run, by name.
type report map[string]string

// A program is one that runs, by whoever started it.
type program interface {
	pid() (int, error) // on the host
	wait() error       // for its end, which must be a good one
	stop() error       // and remove all that is left
}

// A start runs the program of a plan and gives it out as its output.
type start func(p isolate.Plan, out *os.File) (program, error)

// An observation is what one run looked like.
type observation struct {
	report  report
	filters []filter
}

// probeTimeout bounds the time in which the probe looks around.
const probeTimeout = 2 * time.Minute

// observe runs the probe by the plan, in a layer made for this run, looks at it
// from both sides and ends it.
func observe(tb testing.TB, run start, p isolate.Plan) (observation, error) {
	tb.Helper()
	makeLayer(tb, p)
	defer removeLayer(tb, p)
	// The kernel takes back the keys of a sandbox some time after its end.
	testbed.Within(tb, time.Minute, "keys of the last sandbox are gone", func() bool { return keys(p.IDs) == "" })
	return observed(run, p)
}

func makeLayer(tb testing.TB, p isolate.Plan) {
	tb.Helper()
	layer, err := layers.Create(p.ID, p.IDs, nil)
	if err != nil {
		tb.Fatal(err)
	}
	if root, ok := rootOf(p); ok && (root.Upper != layer.Upper || root.Work != layer.Work) {
		tb.Fatalf("the layer is %v, the plan's %v", layer, root)
	}
}

func removeLayer(tb testing.TB, p isolate.Plan) {
	tb.Helper()
	if err := layers.Remove(p.ID); err != nil {
		tb.Error(err)
	}
}

func observed(run start, p isolate.Plan) (seen observation, err error) {
	r, w, err := os.Pipe()
	if err != nil {
		return seen, err
	}
	defer r.Close()
	prog, err := run(p, w)
	w.Close()
	if err != nil {
		return seen, err
	}
	defer func() { err = errors.Join(err, prog.stop()) }()
	if err := r.SetReadDeadline(time.Now().Add(probeTimeout)); err != nil {
		return seen, err
	}
	line, err := bufio.NewReader(r).ReadString('\n')
	if err != nil {
		return seen, fmt.Errorf("the probe said %q: %w", line, err)
	}
	if err := json.Unmarshal([]byte(line), &seen.report); err != nil {
		return seen, fmt.Errorf("the probe said %q: %w", line, err)
	}
	pid, err := prog.pid()
	if err != nil {
		return seen, err
	}
	if err := seen.report.outside(pid, p); err != nil {
		return seen, err
	}
	seen.filters, err = filtersOf(pid)
	return seen, err
}

// outside adds what the host sees of the program and its sandbox.
func (r report) outside(pid int, p isolate.Plan) error {
	if err := r.namespaces(pid); err != nil {
		return err
	}
	groups, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(groups)) {
		if f := strings.SplitN(strings.TrimSpace(line), ":", 3); len(f) == 3 {
			r["outside cgroup "+f[1]] = f[2]
		}
	}
	dirs, err := filepath.Glob("/sys/fs/cgroup/*" + p.Cgroup.Path)
	if err != nil {
		return err
	}
	for _, dir := range append(dirs, "/sys/fs/cgroup"+p.Cgroup.Path) {
		hierarchy := strings.TrimPrefix(strings.TrimSuffix(dir, p.Cgroup.Path), "/sys/fs/cgroup")
		r.cgroup(strings.TrimSpace("cgroup "+strings.TrimPrefix(hierarchy, "/")), dir)
	}
	r["outside keys"] = keys(p.IDs)
	return nil
}

// namespaces reports which of the program's namespaces are its own, and which
// user namespace has power over each.
func (r report) namespaces(pid int) error {
	for _, name := range []string{"cgroup", "ipc", "mnt", "net", "pid", "user", "uts", "time"} {
		link := fmt.Sprintf("/proc/%d/ns/%s", pid, name)
		theirs, err := os.Readlink(link)
		if err != nil {
			return err
		}
		host, err := os.Readlink("/proc/self/ns/" + name)
		if err != nil {
			return err
		}
		if theirs == host {
			r["namespace "+name] = "the host's"
			continue
		}
		owner, err := ownerOf(link)
		if err != nil {
			return fmt.Errorf("owner of %s: %w", link, err)
		}
		r["namespace "+name] = "its own, owned by " + owner
	}
	return nil
}

// ownerOf says whose the user namespace is that owns a namespace (ioctl_ns(2)).
func ownerOf(link string) (string, error) {
	ns, err := os.Open(link)
	if err != nil {
		return "", err
	}
	defer ns.Close()
	owner, err := unix.IoctlRetInt(int(ns.Fd()), unix.NS_GET_USERNS)
	if err != nil {
		return "", err
	}
	defer unix.Close(owner)
	var is, host unix.Stat_t
	if err := errors.Join(unix.Fstat(owner, &is), unix.Stat("/proc/self/ns/user", &host)); err != nil {
		return "", err
	}
	if is.Ino == host.Ino {
		return "the host", nil
	}
	return "the sandbox", nil
}

// cgroup reports the settings of one folder of a cgroup, but for what measures
// what is in it.
func (r report) cgroup(field, dir string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || !info.Mode().IsRegular() || info.Mode()&0o400 == 0 {
			continue
		}
		name := e.Name()
		if setting := info.Mode()&0o200 != 0 || name == "devices.list"; !setting || measures(name) {
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			text = []byte(err.Error())
		}
		r[field+" "+name] = strings.Join(strings.Fields(string(text)), " ")
	}
}

// measures tells of a file of a cgroup that can be written, to reset it or to
// move processes, but holds no setting.
func measures(name string) bool {
	switch name {
	case "cgroup.procs", "cgroup.threads", "tasks", "cpuacct.usage":
		return true
	}
	for _, suffix := range []string{"usage_in_bytes", "failcnt", ".pressure", ".peak"} {
		if strings.HasSuffix(name, suffix) {
			return true
		}
	}
	return false
}

// keys are the kernel's keys that belong to ids of the sandbox, its session
// keyring among them: how many each id has (proc_key_users(5)).
func keys(ids isolate.IDRange) string {
	text, err := os.ReadFile("/proc/key-users")
	if err != nil {
		return err.Error()
	}
	var found []string
	for line := range strings.Lines(string(text)) {
		var uid uint32
		var usage, count int
		if _, err := fmt.Sscanf(strings.TrimSpace(line), "%d: %d %d/", &uid, &usage, &count); err != nil {
			return fmt.Sprintf("malformed: %s", line)
		}
		if uid-ids.Base < ids.Size {
			found = append(found, fmt.Sprintf("id %d has %d", uid-ids.Base, count))
		}
	}
	return strings.Join(found, ", ")
}
