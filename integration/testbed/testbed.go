package testbed

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gilliam/hypervisor/isolate"
	"github.com/gilliam/hypervisor/rootfs"
)

// Main runs a package's tests and fails when they leave anything on the host
// that was not there before. It does not return.
func Main(m *testing.M) { os.Exit(Run(m, func() error { return nil })) }

// Run is [Main] with something to be done first, once it is known that the
// tests can run. It returns the exit status.
func Run(m *testing.M, setup func() error) int {
	if os.Geteuid() != 0 {
		return fail("must run as root: sudo make test")
	}
	if _, err := template(); err != nil {
		return fail(err.Error())
	}
	if err := setup(); err != nil {
		return fail(err.Error())
	}
	if err := alone(); err != nil {
		return fail(err.Error())
	}
	before := look()
	code := m.Run()
	if code == 0 {
		if left := settle(before); len(left) > 0 {
			return fail("the tests left behind:\n\t" + strings.Join(left, "\n\t"))
		}
	}
	return code
}

func fail(text string) int {
	fmt.Fprintln(os.Stderr, "testbed: "+text)
	return 1
}

func fatal(text string) { os.Exit(fail(text)) }

// TemplateDir is the root file system that tests share: $TEMPLATE, or the one
// that `make template` prepares. It is named without links: runc takes no other.
func TemplateDir() string {
	dir := os.Getenv("TEMPLATE")
	if dir == "" {
		dir = "/var/lib/gilliam/templates/default/current/tree"
	}
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		return real
	}
	return dir // whoever opens it says why
}

func template() (rootfs.Template, error) {
	return rootfs.OpenTemplates(rootfs.TemplatesConfig{Default: TemplateDir()}).Get("")
}

// Template is the template that tests share.
func Template(tb testing.TB) rootfs.Template {
	tb.Helper()
	t, err := template()
	if err != nil {
		tb.Fatal(err)
	}
	return t
}

// Engine makes an engine that is closed with the test.
func Engine(tb testing.TB) *isolate.Engine {
	tb.Helper()
	host, err := isolate.Probe()
	if err != nil {
		tb.Fatal(err)
	}
	if host.Disk, err = isolate.ProbeDisk(os.TempDir(), host.Cgroup); err != nil { // where layers are
		tb.Fatal(err)
	}
	engine, err := isolate.NewEngine(host)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := engine.Close(); err != nil {
			tb.Error(err)
		}
	})
	return engine
}

// Within waits until ready says true, and fails the test when it has not in
// time. It is for states of the kernel that no event tells of.
func Within(tb testing.TB, limit time.Duration, what string, ready func() bool) {
	tb.Helper()
	if !Eventually(limit, ready) {
		tb.Fatalf("%s: not within %v", what, limit)
	}
}

// Eventually waits until ready says true, and tells whether it did in time.
func Eventually(limit time.Duration, ready func() bool) bool {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(limit); !ready(); <-tick.C {
		if time.Now().After(deadline) {
			return false
		}
	}
	return true
}

// Leaves fails the test at its end when it left anything on the host.
func Leaves(tb testing.TB) {
	tb.Helper()
	before := look()
	tb.Cleanup(func() {
		if left := settle(before); len(left) > 0 {
			tb.Errorf("left behind:\n\t%s", strings.Join(left, "\n\t"))
		}
	})
}

// settle is what is on the host now and was not before, when the kernel has had
// its time to finish with what has ended.
func settle(before map[string]bool) []string {
	var left []string
	Eventually(30*time.Second, func() bool {
		left = left[:0]
		for thing := range look() {
			if !before[thing] {
				left = append(left, thing)
			}
		}
		return len(left) == 0
	})
	return left
}

// look lists what a sandbox could leave on the host: mounts, cgroups, loop devices
// and processes.
func look() map[string]bool {
	found := make(map[string]bool)
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		fatal(err.Error())
	}
	for line := range strings.Lines(string(mounts)) {
		found["mount "+strings.Fields(line)[4]] = true
	}
	err = filepath.WalkDir("/sys/fs/cgroup", func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return nil // it went away meanwhile
		}
		if d.IsDir() && strings.Contains(path, isolate.CgroupParent) {
			found["cgroup "+path] = true
		}
		return nil
	})
	if err != nil {
		fatal(err.Error())
	}
	loops, err := filepath.Glob("/sys/block/loop*/loop/backing_file")
	if err != nil {
		fatal(err.Error())
	}
	for _, path := range loops {
		if file, err := os.ReadFile(path); err == nil { // else it went away
			found["loop device of "+strings.TrimSpace(string(file))] = true
		}
	}
	for pid, name := range processes() {
		if name == "sandbox-init" || name == "hypervisor" {
			found[fmt.Sprintf("process %s %s", pid, name)] = true
		}
	}
	return found
}

// processes are the pids and names of all that runs.
func processes() map[string]string {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		fatal(err.Error())
	}
	found := make(map[string]string)
	for _, e := range entries {
		name, err := os.ReadFile(filepath.Join("/proc", e.Name(), "comm"))
		if err != nil { // no process, or one that has ended
			continue
		}
		found[e.Name()] = strings.TrimSpace(string(name))
	}
	return found
}
