//go:build builders

package builders

import (
	"bytes"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gilliam/hypervisor/integration/testbed"
	"github.com/gilliam/hypervisor/rootfs/debian/archive"
)

var (
	suite   = flag.String("suite", "bookworm", "release of Debian")
	include = flag.String("include", "python3,procps,ca-certificates", "packages beside the base system")
	mirror  = flag.String("mirror", "", "where all three fetch packages from; empty: where this machine's apt gets the suite")
)

func TestMain(m *testing.M) { testbed.Main(m) }

// preferUsrIsMerged is a hook that comes with mmdebstrap. Debian's essential
// init-system-helpers depends on "usrmerge | usr-is-merged". Who makes a system whose
// /usr is merged from the start, as debootstrap and we do, takes the second one.
// mmdebstrap has apt choose, before it comes to what was asked for with --include,
// and apt takes the first one: a program that converts systems, in Perl, with all of
// Perl.
const preferUsrIsMerged = "/usr/share/mmdebstrap/hooks/maybe-merged-usr"

// A builder fills a folder, which is there and empty, and returns where in it the root
// file system is.
type builder struct {
	name  string
	build func(b *testing.B, dir string) string
	took  []time.Duration
}

// BenchmarkTemplate makes the same system by all three, each time from nothing: who
// keeps packages for the next time has none here. They take turns, in another order
// each round, so that a busy machine or mirror slows all alike.
func BenchmarkTemplate(b *testing.B) {
	binary, from := build(b), source(b)
	runDir := filepath.Join(b.TempDir(), "run")
	ours := func(b *testing.B, state string) string {
		run(b, exec.Command(binary, "template", "build", "default", "--suite", *suite, "--include", *include, "--mirror", from,
			"--state-dir", state, "--run-dir", runDir))
		return filepath.Join(state, "templates/default/current/tree")
	}
	builders := []*builder{
		{name: "ours", build: ours},
		{name: "mmdebstrap", build: func(b *testing.B, dir string) string {
			run(b, alone("mmdebstrap", "--variant=minbase", "--hook-dir="+preferUsrIsMerged, "--include="+*include, *suite, dir, from))
			return dir
		}},
		{name: "debootstrap", build: func(b *testing.B, dir string) string {
			run(b, alone("debootstrap", "--variant=minbase", "--include="+*include, *suite, dir, from))
			return dir
		}},
	}
	var want []string
	before := load(b)
	for b.Loop() {
		for _, i := range rand.Perm(len(builders)) {
			got := builders[i].once(b)
			if want == nil {
				want = got
			}
			if diff := difference(got, want); diff != "" {
				b.Errorf("%s has other packages than who came first:\n%s", builders[i].name, diff)
			}
		}
	}
	fmt.Printf("\n\n%s with %s, %d packages, from %s\nload %s at first, %s at last\n\n%s\n",
		*suite, *include, len(want), archive.Redact(from), before, load(b), table(builders)) // b.Log cuts after ten lines
	b.ReportMetric(median(builders[0].took).Seconds(), "ours-s")
}

// once is one build, timed, from an empty folder to no folder. It returns what
// packages there were.
func (r *builder) once(b *testing.B) []string {
	dir := filepath.Join(b.TempDir(), "new")
	makeDir(b, dir)
	begun := time.Now()
	root := r.build(b, dir)
	r.took = append(r.took, time.Since(begun))
	list := run(b, exec.Command("dpkg-query", "--admindir="+root+"/var/lib/dpkg", "--show",
		"--showformat=${db:Status-Abbrev} ${Package} ${Version} ${Architecture}\n"))
	if err := os.RemoveAll(dir); err != nil {
		b.Fatal(err)
	}
	packages := strings.Split(strings.TrimSpace(list), "\n")
	slices.Sort(packages)
	return packages
}

// build builds the hypervisor, as make build does.
func build(b *testing.B) string {
	b.Helper()
	binary := filepath.Join(b.TempDir(), "hypervisor")
	cmd := exec.Command("go", "build", "-trimpath", "-o", binary, "../../cmd/hypervisor")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("build the hypervisor: %v\n%s", err, out)
	}
	return binary
}

// source is the mirror that all fetch from.
func source(b *testing.B) string {
	b.Helper()
	if *mirror != "" {
		return *mirror
	}
	host, err := archive.ReadHost(os.DirFS("/"))
	if err != nil {
		b.Fatal(err)
	}
	for _, s := range host.Sources {
		if s.Suite == *suite {
			return s.Mirror
		}
	}
	b.Fatalf("this machine's apt has no source of %s: name one with -mirror", *suite)
	return ""
}

// alone is a program with mounts of its own: what it leaves mounted in its folder goes
// with it, so that nobody removes files through that.
func alone(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	return cmd
}

// run runs a program to its end and returns its standard output.
func run(b *testing.B, cmd *exec.Cmd) string {
	b.Helper()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "TEMPLATE=") })
	if err := cmd.Run(); err != nil {
		b.Fatalf("%s: %v\n%s%s", cmd, err, &stdout, &stderr)
	}
	return stdout.String()
}

// makeDir makes a folder that everybody may enter, as a root is.
func makeDir(b *testing.B, dir string) {
	b.Helper()
	if err := os.Mkdir(dir, 0o755); err != nil {
		b.Fatal(err)
	}
}

// load is how many processes wanted a processor, in the last minute.
func load(b *testing.B) string {
	b.Helper()
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		b.Fatal(err)
	}
	first, _, _ := strings.Cut(string(text), " ")
	return first
}
