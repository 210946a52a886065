//go:build integration

package integration

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gilliam/hypervisor/integration/testbed"
	"github.com/gilliam/hypervisor/isolate"
)

// measured is what a daemon holds, and what there is on the machine of what its
// sandboxes are made of.
type measured struct {
	descriptors, goroutines, threads int
	rss                              int64
	files                            int // in its state folder and its run folder, folders too
	mounts, cgroups, memcgs          int // memcgs: of the whole machine, with those that the kernel has not freed yet
	netns, userns                    int // that the kernel has, or else that the daemon is in
}

func (m measured) String() string {
	return fmt.Sprintf("RSS %.1f MiB, %d descriptors, %d goroutines, %d threads; %d files, %d mounts, %d cgroups, %d memory cgroups, %d network and %d user namespaces",
		float64(m.rss)/(1<<20), m.descriptors, m.goroutines, m.threads, m.files, m.mounts, m.cgroups, m.memcgs, m.netns, m.userns)
}

// measure is what the daemon holds now.
func (d *daemon) measure(tb testing.TB) (m measured) {
	tb.Helper()
	d.http.CloseIdleConnections()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", d.pid()))
	must(tb, err)
	m.rss = 1024 * int64(number(tb, string(status), `(?m)^VmRSS:\s+(\d+) kB`))
	m.threads = number(tb, string(status), `(?m)^Threads:\s+(\d+)`)
	metrics := d.want(200, "GET", "/metrics", nil, nil).body
	m.goroutines = number(tb, metrics, `(?m)^go_goroutines (\d+)`)
	d.http.CloseIdleConnections()
	m.descriptors = len(d.descriptors())
	m.files = filesIn(tb, d.stateDir) + filesIn(tb, d.runDir())
	mounts, err := os.ReadFile(fmt.Sprintf("/proc/%d/mounts", d.pid()))
	must(tb, err)
	m.mounts = strings.Count(string(mounts), "\n")
	for _, hierarchy := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/*"} {
		dirs, err := filepath.Glob(hierarchy + isolate.CgroupParent + "/*-*")
		must(tb, err)
		m.cgroups += len(dirs)
	}
	m.memcgs = memoryCgroups(tb)
	m.netns, m.userns = d.namespaces(tb, "net", "net_namespace"), d.namespaces(tb, "user", "user_namespace")
	return m
}

// noMore fails the test when, soon, there is still more than before, and than may
// be: what has ended is freed by the kernel a little later.
func (d *daemon) noMore(tb testing.TB, before, more measured) (after measured) {
	tb.Helper()
	ok := testbed.Eventually(20*time.Second, func() bool {
		after = d.measure(tb)
		return after.descriptors <= before.descriptors+more.descriptors && after.goroutines <= before.goroutines+more.goroutines &&
			after.threads <= before.threads+more.threads && after.rss <= before.rss+more.rss && after.files <= before.files+more.files &&
			after.mounts <= before.mounts+more.mounts && after.cgroups <= before.cgroups+more.cgroups && after.memcgs <= before.memcgs+more.memcgs &&
			after.netns <= before.netns+more.netns && after.userns <= before.userns+more.userns
	})
	if !ok {
		tb.Errorf("there is more than before:\nbefore %v\nafter  %v\nmay be %v more", before, after, more)
	}
	return after
}

// number is the first group of an expression as a number.
func number(tb testing.TB, text, expression string) int {
	tb.Helper()
	m := regexp.MustCompile(expression).FindStringSubmatch(text)
	if m == nil {
		tb.Fatalf("no %s in %s", expression, text)
	}
	n, err := strconv.Atoi(m[1])
	must(tb, err)
	return n
}

// filesIn counts what is in a folder: each is an inode.
func filesIn(tb testing.TB, dir string) (n int) {
	tb.Helper()
	err := filepath.WalkDir(dir, func(string, fs.DirEntry, error) error {
		n++
		return nil
	})
	must(tb, err)
	return n
}

// memoryCgroups counts those that the kernel has (cgroups(7)): one that was removed
// stays until no page is charged to it any more.
func memoryCgroups(tb testing.TB) int {
	tb.Helper()
	if dying, err := os.ReadFile("/sys/fs/cgroup/cgroup.stat"); err == nil {
		return number(tb, string(dying), `(?m)^nr_descendants (\d+)`) + number(tb, string(dying), `(?m)^nr_dying_descendants (\d+)`)
	}
	text, err := os.ReadFile("/proc/cgroups")
	must(tb, err)
	return number(tb, string(text), `(?m)^memory\s+\d+\s+(\d+)`)
}

// namespaces counts those that the kernel has, by its allocator (slabinfo(5)) where
// it tells of them, or else those that the daemon's threads are in: what it holds open
// is among its descriptors.
func (d *daemon) namespaces(tb testing.TB, kind, slab string) int {
	tb.Helper()
	text, err := os.ReadFile("/proc/slabinfo")
	if m := regexp.MustCompile(`(?m)^` + slab + ` +(\d+)`).FindSubmatch(text); err == nil && m != nil {
		n, err := strconv.Atoi(string(m[1]))
		must(tb, err)
		return n
	}
	links, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/ns/%s", d.pid(), kind))
	must(tb, err)
	found := map[string]bool{}
	for _, link := range links {
		if to, err := os.Readlink(link); err == nil {
			found[to] = true
		}
	}
	return len(found)
}
