//go:build vm

package vm

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gilliam/hypervisor/integration/vm/job"
	"github.com/gilliam/hypervisor/integration/vm/machine"
)

// deadline bounds the machine's life; go test's own -timeout must be longer.
const deadline = 15 * time.Minute

func TestMain(m *testing.M) {
	if os.Geteuid() != 0 || runtime.GOARCH != "amd64" {
		os.Stderr.WriteString("vm: must run as root, to copy the template, and on x86-64: sudo make test-vm\n")
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// Debian 12's kernel passes the tests on real sandboxes.
func TestDebian12(t *testing.T) {
	kernel, err := machine.FetchKernel(t.Context(), fromEnv("VM_CACHE", "/var/lib/gilliam/vm"), "linux-image-amd64")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(kernel.Release, "6.1.") {
		t.Errorf("apt offers the kernel %s: this machine is not Debian 12", kernel.Release)
	}
	m := build(t, kernel)
	console := boot(t, m)
	if got := console.Facts["release"]; got != kernel.Release {
		t.Errorf("the guest runs kernel %q, not %s", got, kernel.Release)
	}
	if got := console.Facts["cgroup"]; got != "0::/" {
		t.Errorf("the guest has other cgroups than v2: %q", got)
	}
	for _, p := range packages {
		t.Run(p.dir, func(t *testing.T) { judge(t, console.Results[p.dir]) })
	}
}

// boot runs the machine to its end.
func boot(t *testing.T, m machine.Machine) *job.Transcript {
	t.Helper()
	ctx, cancel := context.WithTimeoutCause(t.Context(), deadline, context.DeadlineExceeded)
	defer cancel()
	var console job.Transcript
	start := time.Now()
	err := m.Run(ctx, tee{&console, t})
	t.Logf("the machine ran for %v", time.Since(start).Round(100*time.Millisecond))
	if err != nil || !console.Done {
		t.Errorf("the guest did not come to its end: %v %s\n%s", err, console.Fatal, console.Tail(60))
	}
	return &console
}

// judge fails the test unless the guest ran the package's tests and all passed.
func judge(t *testing.T, r *job.Result) {
	switch {
	case r == nil:
		t.Fatal("did not run")
	case !r.Ended:
		t.Fatalf("did not end; passed so far: %q", r.Passed)
	}
	t.Logf("%d tests passed in %v", len(r.Passed), r.Took)
	if r.Code != 0 || len(r.Failed) > 0 {
		t.Errorf("exit code %d; failed: %q", r.Code, r.Failed)
	}
	if len(r.Skipped) > 0 {
		t.Errorf("skipped: %q", r.Skipped)
	}
	if len(r.Passed) == 0 {
		t.Error("no test ran")
	}
}

// tee writes the console to the transcript and to the test's log.
type tee struct {
	console *job.Transcript
	t       *testing.T
}

func (w tee) Write(p []byte) (int, error) {
	_, _ = w.t.Output().Write(slices.DeleteFunc(slices.Clone(p), func(b byte) bool { return b == '\r' }))
	return w.console.Write(p)
}

func fromEnv(name, otherwise string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return otherwise
}

// project is the folder of the module.
func project(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}
